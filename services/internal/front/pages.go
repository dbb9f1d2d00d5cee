package front

import (
	"net/http"

	"github.com/rs/cors"

	"github.com/berth-registry/berth/pkg/boot/web"
)

// pages keeps web pages of other origins from using the registry with the rights
// that everybody has where their reader is (contract row S60). Those of named
// origins use it as any other client does, with a credential that they hold
// themselves. Browsers send nothing along on their own: there are no cookies
// here, and credentialed requests are not allowed (contract row A11).
type pages struct {
	origins web.Origins
	cors    http.Handler // for named origins
	next    http.Handler
}

func newPages(origins web.Origins, next http.Handler) http.Handler {
	p := pages{origins: origins, next: next}
	if len(origins) > 0 { // without any, the library would allow all
		p.cors = cors.New(cors.Options{
			AllowedOrigins: origins,
			AllowedMethods: []string{
				http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
			},
			AllowedHeaders: []string{
				"Accept", "Authorization", "Content-Range", "Content-Type", "If-None-Match", "Range",
			},
			ExposedHeaders: []string{
				"Age", "Docker-Content-Digest", "Docker-Distribution-API-Version", "ETag", "Link", "Location", "Range",
				"OCI-Chunk-Min-Length", "OCI-Filters-Applied", "OCI-Namespace", "OCI-Subject", "OCI-Tag", "Retry-After", "Warning", "WWW-Authenticate", "X-Request-Id",
			},
			AllowPrivateNetwork: true, // a named origin is named for this registry, wherever it is
			MaxAge:              3600,
		}).Handler(next)
	}
	return p
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.KeepFromPages(w.Header())
	switch {
	case p.cors != nil && p.origins.Named(r):
		p.cors.ServeHTTP(w, r)
	case p.origins.Trusts(r):
		p.next.ServeHTTP(w, r)
	default:
		WriteError(w, r, web.ErrForeignPage())
	}
}
