package fronttest

import (
	"maps"
	"net/http"
	"slices"
)

// Same reports where two answers differ in status, header set or body. The
// request id and the date are left aside (contract section 1).
func (d *Deployment) Same(what string, a, b Answer) {
	d.t.Helper()
	if a.Status != b.Status {
		d.t.Errorf("%s: status %d and %d", what, a.Status, b.Status)
	}
	if a.Body != b.Body {
		d.t.Errorf("%s: bodies\n%s\n%s", what, a.Body, b.Body)
	}
	if ha, hb := comparable(a.Header), comparable(b.Header); !maps.EqualFunc(ha, hb, slices.Equal) {
		d.t.Errorf("%s: headers\n%v\n%v", what, ha, hb)
	}
}

func comparable(h http.Header) http.Header {
	h = h.Clone()
	h.Del("Date")
	h.Del("X-Request-Id")
	return h
}
