package web

import "net/http"

// stayEncrypted is how long a browser is to speak TLS only with a host that did: a
// year. Whether that is so for hosts below it is not known here.
const stayEncrypted = "max-age=31536000"

// transport says in the answer what follows from how the request came.
type transport struct {
	peers bool
	next  http.Handler
}

func (t transport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if Scheme(r.Context()) == "https" {
		w.Header().Set("Strict-Transport-Security", stayEncrypted)
	}
	if !t.peers && endsConnection(r) {
		w.Header().Set("Connection", "close")
	}
	t.next.ServeHTTP(w, r)
}

// endsConnection says whether nothing more may be read from the connection after the
// request, since a proxy in front may see its end elsewhere (contract rows A5 and S8,
// RFC 9112 section 6.1). With Transfer-Encoding net/http drops Content-Length without a
// word, and in HTTP/1.0 Transfer-Encoding, so that which had both cannot be told: all
// that had the one, or are of that version, end it. A connection is cheap where clients
// do so: with TLS they speak HTTP/2, which has neither.
func endsConnection(r *http.Request) bool {
	return r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0)
}
