package upstream

import (
	"context"
	"strings"
)

type witnessKey struct{}

// WithWitness has f called for each document that the upstream gives for the configured
// credential, after the document was checked and before it is returned. A response to an
// anonymous request does not count. Nor does one of a host that the upstream redirects to,
// except for a blob (contract row T59).
func WithWitness(ctx context.Context, f func(context.Context)) context.Context {
	return context.WithValue(ctx, witnessKey{}, f)
}

// witnessed calls the function of WithWitness, if there is one.
func witnessed(ctx context.Context) {
	if f, ok := ctx.Value(witnessKey{}).(func(context.Context)); ok {
		f(ctx)
	}
}

// authenticated reports whether the upstream responded to the credential, or to a token
// that was issued to it. Registries redirect to storage for blobs, after they have
// accepted the login.
func (q *question) authenticated(away bool) bool {
	return !q.auth.guest && (q.login.proven || strings.HasPrefix(q.login.header, "Basic ")) && (!away || q.kind == kindBlobs)
}
