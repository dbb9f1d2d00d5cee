package main

import (
	"net/http"
	"sync/atomic"

	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// A registry is one of the two that are measured, and what was pushed to it.
type registry struct {
	*ociclient.Client
	large  string                // digest of the large blob
	pushed map[int]*atomic.Int64 // images, by the size of their layer
}

func newRegistry(addr string) *registry {
	return &registry{
		Client: &ociclient.Client{
			Base: "http://" + addr,
			HTTP: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}},
		},
		pushed: map[int]*atomic.Int64{},
	}
}

// images counts the images of a size. It is for one goroutine, the count for
// many.
func (r *registry) images(size int) *atomic.Int64 {
	if r.pushed[size] == nil {
		r.pushed[size] = new(atomic.Int64)
	}
	return r.pushed[size]
}
