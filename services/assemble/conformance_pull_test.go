package assemble_test

import (
	"net/http"
	"strings"
	"testing"
)

// absent is a digest that nothing has.
var absent = "sha256:" + strings.Repeat("0", 64)

var pullRequirements = []requirement{
	{"Determining Support", must, "GET v2 answers 200", func(t *testing.T, r repository) {
		r.send(t, request{method: http.MethodGet, target: "/v2/"}).want(t, http.StatusOK)
	}},
	{"Pulling manifests", must, "a manifest that is not there is 404, by tag and by digest", func(t *testing.T, r repository) {
		for _, reference := range []string{"latest", absent} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				r.send(t, request{method: method, target: r.at("manifests/%s", reference)}).want(t, http.StatusNotFound)
			}
		}
	}},
	{"Pulling blobs", must, "a blob that is not there is 404", func(t *testing.T, r repository) {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r.send(t, request{method: method, target: r.at("blobs/%s", absent)}).want(t, http.StatusNotFound)
		}
	}},
}
