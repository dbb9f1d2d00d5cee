package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// discarding is an S3 server that keeps no bytes: uploads of many gigabytes can
// be watched where no disk would hold them. It knows what uploads need, and the
// size of what it has taken.
type discarding struct {
	mu      sync.Mutex
	uploads int
	parts   map[string]map[int]int64 // bytes by upload and part
	objects map[string]int64         // bytes by path
}

func newDiscarding() *discarding {
	return &discarding{parts: make(map[string]map[int]int64), objects: make(map[string]int64)}
}

// ServeHTTP answers one call. Signatures are not checked.
func (d *discarding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	q, isBucket := r.URL.Query(), strings.Count(r.URL.Path, "/") < 2
	switch {
	case r.Method == http.MethodHead && isBucket:
	case r.Method == http.MethodHead:
		d.head(w, r.URL.Path)
	case r.Method == http.MethodPost && q.Has("uploads"):
		d.uploads++
		id := strconv.Itoa(d.uploads)
		d.parts[id] = make(map[int]int64)
		answerXML(w, "InitiateMultipartUploadResult", "UploadId", id)
	case r.Method == http.MethodPost:
		for _, size := range d.parts[q.Get("uploadId")] {
			d.objects[r.URL.Path] += size
		}
		answerXML(w, "CompleteMultipartUploadResult", "ETag", `"whole"`)
	case r.Method == http.MethodPut && q.Has("uploadId"):
		number, err := strconv.Atoi(q.Get("partNumber"))
		parts := d.parts[q.Get("uploadId")]
		if err != nil || parts == nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		parts[number] = n
		w.Header().Set("ETag", `"part"`)
	case r.Method == http.MethodPut:
		d.objects[r.URL.Path] = n
		w.Header().Set("ETag", `"whole"`)
	case r.Method == http.MethodDelete:
		delete(d.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

func (d *discarding) head(w http.ResponseWriter, path string) {
	size, ok := d.objects[path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", `"whole"`)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
}

// answerXML writes a document of one element.
func answerXML(w http.ResponseWriter, document, element, text string) {
	w.Header().Set("Content-Type", "application/xml")
	_, _ = fmt.Fprintf(w, "<%s><%s>", document, element)
	_ = xml.EscapeText(w, []byte(text))
	_, _ = fmt.Fprintf(w, "</%s></%s>", element, document)
}
