package inflight_test

import (
	"context"
	"io"
	"log"
	"os"
	"strings"

	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/oci"
)

func Example() {
	content := "bytes of a layer\n"
	s, err := inflight.New(inflight.Options{Digest: oci.DigestOf(oci.SHA256, []byte(content)), Size: int64(len(content))})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Release()

	go func() { // they arrive
		if _, err := io.Copy(s, strings.NewReader(content)); err != nil {
			s.Fail(err)
		}
		_ = s.Finish() // readers hear of it
	}()

	r := s.Open(context.Background())
	defer r.Close()
	if _, err := io.Copy(os.Stdout, r); err != nil {
		log.Print(err)
	}
	// Output: bytes of a layer
}
