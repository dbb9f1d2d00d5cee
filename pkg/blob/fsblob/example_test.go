package fsblob_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
)

// An object is appended to, sealed and read. A real journal records each step
// in package meta; this one does not.
func Example() {
	dir, err := os.MkdirTemp("", "blobs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := fsblob.Open(dir, fsblob.Options{})
	if err != nil {
		panic(err)
	}
	defer store.Close()

	ctx := context.Background()
	stage := blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.New()}}
	body := &recorder{}
	body.Reset([]byte("hello"))
	if err := store.Append(ctx, stage, body, body); err != nil {
		panic(err)
	}
	stage.Offset = body.offset
	size, err := store.Seal(ctx, stage)
	if err != nil {
		panic(err)
	}
	c, err := store.Open(ctx, stage.Key)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	content, err := io.ReadAll(c)
	fmt.Println(size, string(content), err)
	// Output: 5 hello <nil>
}
