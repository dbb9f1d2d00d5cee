package ocihttp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/ocihttp"
)

func TestQ18_Ranges(t *testing.T) {
	const huge, largest = "99999999999999999999", "9223372036854775807"
	for header, want := range map[string]string{
		"bytes=0-3":                 "bytes=0-3",
		"bytes=5-":                  "bytes=5-",
		"bytes=-5":                  "bytes=-5",
		"BYTES=007-9":               "bytes=7-9",
		"bytes=0-1,5-6,-2":          "bytes=0-1,5-6,-2",
		"bytes= 5-6 ,\t0-1 , ,":     "bytes=5-6,0-1",
		"bytes=0-" + huge:           "bytes=0-",
		"bytes=" + huge + "-":       "bytes=" + largest + "-",
		"bytes=-" + huge:            "bytes=-" + largest,
		"bytes=-0":                  "bytes=" + largest + "-",
		"bytes=0-0" + ranges(1, 16): "bytes=0-0" + ranges(1, 16),
		// ask for the whole
		"":                          "",
		"bytes":                     "",
		"bytes=":                    "",
		"bytes=,":                   "",
		"bytes=-":                   "",
		"bytes=--1":                 "",
		"bytes=5-2":                 "",
		"bytes=a-b":                 "",
		"bytes=+1-2":                "",
		"bytes=1-2-3":               "",
		"bytes=0x1-2":               "",
		"bytes =0-1":                "",
		"bytes=0 - 1":               "",
		"bytes=0-1;5-6":             "",
		"lines=0-1":                 "",
		"items=1-5":                 "",
		"bytes=0-5,5-6":             "",
		"bytes=3-,9-":               "",
		"bytes=9-,3-5,4-4":          "",
		"bytes=-1,-2":               "",
		"bytes=0-1,x":               "",
		"bytes=0-0" + ranges(1, 17): "",
		"0-1":                       "",
	} {
		h := http.Header{"Range": {header}}
		ocihttp.CleanRange(h)
		if got := h.Get("Range"); got != want {
			t.Errorf("%.60q becomes %q, want %q", header, got, want)
		}
	}
	h := http.Header{"Range": {"bytes=0-1", "bytes=5-6"}}
	if ocihttp.CleanRange(h); len(h) != 0 {
		t.Errorf("two headers become %v", h)
	}
}

// ranges are those from the n-th to before the m-th of one byte each.
func ranges(n, m int) string {
	var s strings.Builder
	for i := n; i < m; i++ {
		s.WriteString("," + strings.Repeat("1", i) + "-" + strings.Repeat("1", i))
	}
	return s.String()
}

func FuzzCleanRange(f *testing.F) {
	for _, s := range []string{"bytes=0-3", "bytes=-5, 0-1", "lines=1-2", "bytes=5-2", "bytes=-0", "Bytes=00-", ranges(0, 20)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h := http.Header{"Range": {s}}
		ocihttp.CleanRange(h)
		once := h.Get("Range")
		if ocihttp.CleanRange(h); h.Get("Range") != once || strings.Count(once, ",") >= 16 {
			t.Fatalf("%q becomes %q, then %q", s, once, h.Get("Range"))
		}
		if once == "" {
			return
		}
		// net/http reads it: it is not a range that it calls invalid.
		w := httptest.NewRecorder()
		r := &http.Request{Method: http.MethodGet, Header: h}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789abcdefghij"))
		if w.Code == http.StatusRequestedRangeNotSatisfiable && w.Header().Get("Content-Range") != "bytes */20" {
			t.Fatalf("%q, from %q, is invalid: %v", once, s, w.Header())
		}
	})
}
