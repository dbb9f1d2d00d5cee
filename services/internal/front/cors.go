package front

import (
	"net/http"

	"github.com/rs/cors"
)

// crossOrigin lets pages of any site use the registry as any other client
// does, with a credential they hold themselves. Browsers send nothing along on
// their own: there are no cookies here, and credentialed requests are not
// allowed (contract row A11).
func crossOrigin(next http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowedOrigins: []string{"*"},
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
		MaxAge: 3600,
	}).Handler(next)
}
