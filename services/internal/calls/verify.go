package calls

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
)

// ErrUnsigned is what a request has without a call, or with several.
var ErrUnsigned = errors.New("the request has no signed call")

// Verify takes the signed call off a request, before anything has changed that. Where
// the body is covered, its last byte comes only after all of it was the one that was
// signed.
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

// Reason is the word for metrics of why a call is refused.
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
