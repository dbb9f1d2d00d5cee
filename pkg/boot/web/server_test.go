package web

import (
	"io"
	"net/http"
	"testing"
)

// net/http has an answer of its own to "OPTIONS *"; it must not stand in front
// of the handler, who knows which hosts there are.
func TestA1_OptionsOfTheServerReachesTheHandler(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host+" "+r.RequestURI) })
	c := dial(t, s)
	if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	expectAnswer(t, c, "nobody.localhost *")
}
