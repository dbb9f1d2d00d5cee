package assemble

import (
	"context"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot"
)

// issuer is what tokens call who signed them; the audience, which is the host,
// is what tells deployments and tenants apart.
const issuer = "berth"

// How long a key that a version before kept open keeps signing: on a cluster,
// until all nodes of that version, which can read no other, have been replaced.
const (
	clusterHandover  = time.Hour
	embeddedHandover = 3 * time.Minute
)

// tokenKeys are what this process issues tokens with, if it does, and verifies
// them with.
type tokenKeys struct {
	issuer   *access.Issuer // nil where token does not run: this process reads no private key
	verifier *access.Verifier
}

func (b builder) tokenKeys(ctx context.Context) (tokenKeys, error) {
	var signer *access.Signer
	var err error
	failed := func(err error) {
		b.Log.WarnContext(ctx, "the signing keys could not be read again", "error", err)
	}
	if b.config.Runs(boot.TokenService) {
		if signer, err = b.openSigner(ctx); err != nil {
			return tokenKeys{}, err
		}
		b.Go("signing keys", func(ctx context.Context) error { signer.Run(ctx, failed); return nil })
	}
	keys, err := access.OpenKeys(ctx, b.stores.meta)
	if err != nil {
		return tokenKeys{}, err
	}
	b.Go("verifying keys", func(ctx context.Context) error { keys.Run(ctx, failed); return nil })
	if err := b.readRevocations(ctx); err != nil {
		return tokenKeys{}, err
	}
	t := tokenKeys{verifier: access.NewVerifier(keys, issuer).WithRevocations(b.revoked)}
	if signer != nil {
		t.issuer = access.NewIssuer(signer, keys, issuer)
	}
	return t, nil
}

// readRevocations reads which tokens were revoked, and reads it again all the time.
func (b builder) readRevocations(ctx context.Context) error {
	if err := b.revoked.Read(ctx); err != nil {
		return err
	}
	b.Go("revocations", func(ctx context.Context) error {
		b.revoked.Run(ctx, func(err error) {
			if err != nil {
				b.Log.WarnContext(ctx, "which tokens were revoked could not be read; without that, requests with a token are refused after "+access.RevocationsStale.String(), "error", err)
			} else {
				b.Log.InfoContext(ctx, "which tokens were revoked can be read again")
			}
		})
		return nil
	})
	return nil
}

func (b builder) openSigner(ctx context.Context) (*access.Signer, error) {
	o := access.SignerOptions{Life: b.config.SigningKeyLife, Handover: clusterHandover}
	if b.config.Embedded() {
		o.Handover = embeddedHandover
	}
	o.Unreadable = func(ids []string) {
		b.Log.WarnContext(ctx, "signing keys are sealed with another secret_key than this process has; it makes one of its own, and tokens that they signed stay valid until they expire. "+
			"If secret_key was exchanged, set old_secret_key to the one before; all processes that run token need the same", "keys", strings.Join(ids, " "))
	}
	return access.OpenSigner(ctx, b.stores.meta, b.secrets, o)
}
