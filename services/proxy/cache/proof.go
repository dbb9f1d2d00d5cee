package cache

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/upstream"
)

// After another password for the same account, what was cached of a name is served only
// after the upstream has answered for that name under the new one (invariant I12). Until
// then it is in a cache registry that is not read (meta.Upstreams.RotateUpstream).

// provedFor is how long a process remembers that a name is proved, and knownProofs is for
// how many names. To prove one again changes nothing.
const (
	provedFor   = time.Hour
	knownProofs = 65536
)

const proofKey = "proof"

// unproved reports whether there may be content of this name to be proved.
func (r *Repository) unproved() bool {
	if !r.Unproved {
		return false
	}
	_, proved := r.caches.proved.Find(r.key(proofKey))
	return !proved
}

// withProof has each answer that the upstream gives for the credential prove the name.
func (r *Repository) withProof(ctx context.Context) context.Context {
	if !r.unproved() {
		return ctx
	}
	return upstream.WithWitness(ctx, r.prove)
}

func (r *Repository) prove(ctx context.Context) {
	if err := r.caches.Meta.ProveCached(ctx, r.Repo); err != nil {
		r.caches.Log.WarnContext(ctx, "what was cached before the password of an upstream changed cannot be used yet",
			"upstream", r.Slug, "repository", r.Repo.Name, "error", err)
		return
	}
	r.caches.proved.Put(r.key(proofKey), struct{}{}, provedFor)
}

// proveByTag asks the upstream for a tag by HEAD, so that a manifest which is cached
// already is not fetched again. An error shows at the next request.
func (r *Repository) proveByTag(ctx context.Context, tag string) {
	if r.unproved() {
		_, _ = r.client.HeadManifest(ctx, r.Repo.Name, tag)
	}
}
