package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// ranged serves a blob that is cut after half of it unless a range is asked for; part
// answers ranges. It returns a download that has got that half, and what ranges were
// asked for.
func ranged(t *testing.T, content []byte, size int64, part http.HandlerFunc) (*Download, *[]string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Header.Get("Range"))
		first := len(asked) == 1
		mu.Unlock()
		if r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Etag", `"one"`)
		if r.Header.Get("Range") != "" {
			part(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		if first {
			_, _ = w.Write(content[:len(content)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(content)
	})
	d := c.Download("a/b", oci.DigestOf(oci.SHA256, content), size)
	b, err := d.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAndClose(t, b); len(got) != len(content)/2 || fault.KindOf(err) != fault.BadUpstream {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	return d, &asked
}

// partly answers with a part and this header.
func partly(content []byte, from int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[from:])
	}
}

// TestT20_PartsThatAreRight are read from the offset.
func TestT20_PartsThatAreRight(t *testing.T) {
	content := layer(10_000)
	const from = 5000
	length := strconv.Itoa(len(content) - from)
	for name, part := range map[string]http.HandlerFunc{
		"plain":                 partly(content, from, "Content-Length", length),
		"chunked":               partly(content, from, "Transfer-Encoding", "chunked"),
		"size not said":         partly(content, from, "Content-Range", "bytes 5000-9999/*"),
		"no ETag":               partly(content, from, "Etag", ""),
		"weak ETag":             partly(content, from, "Etag", `W/"one"`),
		"identity":              partly(content, from, "Content-Encoding", "identity"),
		"labelled as gzip":      partly(content, from, "Content-Encoding", "gzip", "Content-Length", length),
		"unit in upper letters": partly(content, from, "Content-Range", "Bytes 5000-9999/10000"),
	} {
		for _, size := range []int64{-1, int64(len(content))} {
			d, asked := ranged(t, content, size, part)
			b, err := d.Open(t.Context(), from)
			if err != nil {
				t.Errorf("%s, size %d: %v", name, size, err)
				continue
			}
			if b.From != from || b.Size != int64(len(content)) {
				t.Errorf("%s, size %d: from %d of %d", name, size, b.From, b.Size)
			}
			if got, err := readAndClose(t, b); err != nil || !bytes.Equal(got, content[from:]) {
				t.Errorf("%s, size %d: %d bytes, %v", name, size, len(got), err)
			}
			if want := []string{"", "bytes=5000-"}; strings.Join(*asked, ",") != strings.Join(want, ",") {
				t.Errorf("%s: asked for %q", name, *asked)
			}
		}
	}
}

// TestT20_APartMayEndEarly: what it has counts, and the rest is missing.
func TestT20_APartMayEndEarly(t *testing.T) {
	content := layer(10_000)
	d, _ := ranged(t, content, int64(len(content)), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 5000-5999/10000")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[5000:6000])
	})
	b, err := d.Open(t.Context(), 5000)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAndClose(t, b); !bytes.Equal(got, content[5000:6000]) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestT22_PartsThatAreNot the requested one start the download at byte 0, once.
func TestT22_PartsThatAreNot(t *testing.T) {
	content := layer(10_000)
	const from = 5000
	refuse := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, part := range map[string]http.HandlerFunc{
		"another start":      partly(content, from-1),
		"another size":       partly(content, from, "Content-Range", "bytes 5000-9999/10001"),
		"no size, too short": partly(content, from, "Content-Range", "bytes 5000-9998/*"),
		"no Content-Range":   partly(content, from, "Content-Range", ""),
		"garbage":            partly(content, from, "Content-Range", "bytes 5000"),
		"another length":     partly(content, from, "Content-Range", "bytes 5000-7000/10000", "Content-Length", strconv.Itoa(len(content)-from)),
		"gzip":               partly(content, from, "Content-Encoding", "gzip"),
		"another coding":     partly(content, from, "Content-Encoding", "br"),
		"another ETag":       partly(content, from, "Etag", `"two"`),
		"several parts":      partly(content, from, "Content-Type", "multipart/byteranges; boundary=x", "Content-Range", ""),
		"the rest as a 200": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
			_, _ = w.Write(content[from:])
		},
		"400": refuse(400), "403": refuse(403), "405": refuse(405), "412": refuse(412), "416": refuse(416), "501": refuse(501),
	} {
		d, asked := ranged(t, content, int64(len(content)), part)
		b, err := d.Open(t.Context(), from)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := readAndClose(t, b); err != nil || b.From != 0 || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes from %d, %v", name, len(got), b.From, err)
		}
		if got := strings.Join(*asked, ","); got != ",bytes=5000-," {
			t.Errorf("%s: asked for %q", name, got)
		}
		b, err = d.Open(t.Context(), from)
		if name == "another ETag" { // it says nothing: the digest will
			if err != nil || b.From != from || b.Close() != nil {
				t.Errorf("%s, again: %v", name, err)
			}
			continue
		}
		if outcome := OutcomeOf(err); outcome != Outage && outcome != Denied || len(*asked) != 4 {
			t.Errorf("%s, again: asked for %q, %v", name, *asked, err)
		}
	}
}

// TestT22_ARangeThatIsIgnored begins at byte 0, without another request.
func TestT22_ARangeThatIsIgnored(t *testing.T) {
	content := layer(10_000)
	d, asked := ranged(t, content, -1, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	for range 2 {
		b, err := d.Open(t.Context(), 5000)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readAndClose(t, b); err != nil || b.From != 0 || !bytes.Equal(got, content) {
			t.Errorf("%d bytes from %d, %v", len(got), b.From, err)
		}
	}
	if len(*asked) != 3 {
		t.Errorf("asked for %q", *asked)
	}
}

// TestT24_WhatEndsADownload keeps its meaning when a range is asked for.
func TestT24_WhatEndsADownload(t *testing.T) {
	content := layer(100)
	for status, want := range map[int]func(*Error) bool{
		404: func(e *Error) bool { return e.Outcome == NotHere },
		401: func(e *Error) bool { return e.Outcome == Denied },
		429: func(e *Error) bool { return e.RateLimited && e.RetryAfter == 3*time.Second },
		503: func(e *Error) bool { return e.Outcome == Outage && e.RetryAfter == 3*time.Second },
	} {
		d, asked := ranged(t, content, -1, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(status)
		})
		var e *Error
		if _, err := d.Open(t.Context(), 50); !errors.As(err, &e) || !want(e) {
			t.Errorf("%d: %v", status, err)
		}
		if len(*asked) != 2 {
			t.Errorf("%d: asked for %q", status, *asked)
		}
	}
}
