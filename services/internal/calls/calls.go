// Package calls carries signed calls between the processes of a deployment over HTTP:
// what of a request is signed, and what must be the same where it arrives.
package calls

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
)

// Header carries the signed call.
const Header = "Berth-Internal-Call"

// covered are the headers that change what a service does, or for whom.
var covered = []string{
	"Accept", "Authorization", "Berth-Hops", "Content-Encoding", "Content-Range", "Content-Type",
	"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range",
}

// Transport sends signed calls.
type Transport struct {
	Calls *access.Internal
	Next  http.RoundTripper
}

// Send signs the call of the request, and its body where that has at most so many
// bytes. net/http sends a request a second time by itself where a kept connection
// turns out to be closed; each time it is signed again, since a call is taken once.
func (t Transport) Send(r *http.Request, c access.InternalCall, most int64) (*http.Response, error) {
	c.Body = ""
	r, err := hashBody(r, &c, most)
	if err != nil {
		return nil, err
	}
	c.InternalRequest = Describe(r)
	signed := []string{""}
	var failed error
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		// Before the header is written, for each connection that is tried.
		GotConn: func(httptrace.GotConnInfo) { signed[0], failed = t.Calls.Sign(c) },
	}))
	r.Header = r.Header.Clone()
	r.Header[Header] = signed
	answer, err := t.Next.RoundTrip(r)
	if failed != nil {
		if err == nil {
			_ = answer.Body.Close() // a refusal
		}
		return nil, failed
	}
	return answer, err
}

// hashBody reads the body where it is short, and notes its digest in the call. A longer
// one continues as it comes.
func hashBody(r *http.Request, c *access.InternalCall, most int64) (*http.Request, error) {
	if r.Body == nil || r.Body == http.NoBody || most <= 0 || r.ContentLength > most {
		return r, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return nil, errors.Join(err, r.Body.Close())
	}
	r = r.WithContext(r.Context())
	if int64(len(body)) > most {
		r.Body = readCloser{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		return r, nil
	}
	sum := sha256.Sum256(body)
	c.Body = hex.EncodeToString(sum[:])
	r.Body, r.ContentLength, r.TransferEncoding = readCloser{bytes.NewReader(body), r.Body}, int64(len(body)), nil
	if len(body) == 0 {
		c.Body = ""
		err = r.Body.Close()
		r.Body = http.NoBody
	}
	return r, err
}

// readCloser reads from one and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// Describe is what is signed of a request, and compared where it arrives.
func Describe(r *http.Request) access.InternalRequest {
	length := r.ContentLength
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		length = 0
	case length == 0: // as net/http sends it
		length = -1
	}
	return access.InternalRequest{
		Method: r.Method, Path: r.URL.RequestURI(), Host: cmp.Or(r.Host, r.URL.Host), Headers: digestOf(r.Header), Length: length,
	}
}

func digestOf(h http.Header) string {
	sum := sha256.New()
	for _, name := range covered {
		if values, ok := h[name]; ok {
			_, _ = io.WriteString(sum, name+":"+strings.Join(values, ",")+"\n") // a hash takes all
		}
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}
