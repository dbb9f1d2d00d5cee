// Package signedcall carries signed calls between the processes of a deployment over HTTP:
// which parts of a request are signed and compared by the receiver.
package signedcall

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
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
// bytes. net/http resends a request if a kept connection turns out to be closed;
// it is signed again each time, since a call is accepted once.
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

// Describe returns the signed parts of a request.
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

// ErrUnsigned is what a request has without a call, or with several.
var ErrUnsigned = errors.New("the request has no signed call")

// Verify removes the signed call from an unchanged request. If the body is covered,
// its last byte is released only after its digest matched.
func Verify(calls *access.Internal, r *http.Request) (access.InternalCall, error) {
	signed := r.Header[Header]
	if len(signed) != 1 {
		web.SetCallRefused(r.Context(), Reason(ErrUnsigned))
		return access.InternalCall{}, ErrUnsigned
	}
	delete(r.Header, Header)
	c, err := calls.Verify(signed[0], Describe(r))
	if err != nil {
		web.SetCallRefused(r.Context(), Reason(err))
		return access.InternalCall{}, err
	}
	if c.Body != "" {
		r.Body = &verifiedBody{ReadCloser: r.Body, ctx: r.Context(), sum: sha256.New(), want: c.Body, left: r.ContentLength}
	}
	return c, nil
}

// Reason is the metric label for a refused call.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrUnsigned):
		return "unsigned"
	case errors.Is(err, access.ErrInternalKey):
		return "key"
	case errors.Is(err, access.ErrInternalExpired):
		return "expired"
	case errors.Is(err, access.ErrInternalChanged):
		return "changed"
	case errors.Is(err, access.ErrInternalUsed):
		return "replayed"
	default:
		return "invalid"
	}
}

// verifiedBody is a body that must be the one that was signed.
type verifiedBody struct {
	io.ReadCloser
	ctx  context.Context // of the request
	sum  hash.Hash
	want string
	left int64
	err  error
}

func (c *verifiedBody) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.ReadCloser.Read(p)
	_, _ = c.sum.Write(p[:n]) // a hash takes all
	c.left -= int64(n)
	if ended := c.left <= 0 || errors.Is(err, io.EOF); !ended {
		return n, err
	}
	if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.want {
		web.SetCallRefused(c.ctx, "changed")
		c.err = fault.Down(fmt.Errorf("the body of a call is not the one that was signed: it has the digest %s", got), "a service")
		return 0, c.err
	}
	return n, err
}
