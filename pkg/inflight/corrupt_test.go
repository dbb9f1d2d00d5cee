package inflight_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// corruptions are what a source may give instead of a blob.
func corruptions(right []byte) map[string][]byte {
	flip := func(at int) []byte {
		b := bytes.Clone(right)
		b[at] ^= 1
		return b
	}
	swapped := bytes.Clone(right)
	slices.Reverse(swapped)
	return map[string][]byte{
		"first byte":       flip(0),
		"middle byte":      flip(len(right) / 2),
		"last byte":        flip(len(right) - 1),
		"short by one":     right[:len(right)-1],
		"long by one":      append(bytes.Clone(right), 0),
		"empty":            {},
		"another blob":     bytesOf(len(right) / 2),
		"same length":      bytesOf(len(right) + 1)[1:],
		"doubled":          append(bytes.Clone(right), right...),
		"cut in half":      right[:len(right)/2],
		"trailing garbage": append(bytes.Clone(right), "garbage"...),
		"reversed":         swapped,
	}
}

// TestE6_CorruptionsAreNeverACompleteAnswer: the store and the client that is
// sent it by net/http hears that it is wrong.
func TestE6_CorruptionsAreNeverACompleteAnswer(t *testing.T) {
	for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		for _, size := range []int{10, 3*held + 9} {
			right := bytesOf(size)
			for name, content := range corruptions(right) {
				t.Run(fmt.Sprintf("%s of %s, %d bytes", name, a, size), func(t *testing.T) {
					checkCorrupt(t, right, content)
				})
			}
		}
	}
}

func checkCorrupt(t *testing.T, right, content []byte) {
	t.Helper()
	s := start(t, right)
	opened := make(chan struct{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.Open(r.Context())
		defer c.Close()
		close(opened)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, c)
	}))
	defer front.Close()
	stored := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, s.Source(t.Context()))
		stored <- err
	}()
	sent := make(chan error, 1)
	go func() {
		resp, err := http.Get(front.URL)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		sent <- err
	}()
	<-opened
	_, err := s.Write(content)
	if err != nil {
		s.Fail(err)
	}
	if err := s.Finish(); fault.KindOf(err) != fault.BadUpstream {
		t.Errorf("Finish: %v", err)
	}
	if err := <-stored; fault.KindOf(err) != fault.BadUpstream {
		t.Errorf("it can be stored: %v", err)
	}
	if err := <-sent; err == nil {
		t.Error("the client got a complete answer")
	}
}
