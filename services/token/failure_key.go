package token

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// accountKey counts names as one that a directory may take for the same, and all that are too
// long. But people have names at identity providers that no account has, and must not be kept out
// by the failures of others.
func accountKey(t tenant.ID, name string) limit.Key {
	const longest, enough = 256, 16
	if len(name) > longest {
		name = ""
	}
	if name = meta.FoldName(name); tenant.CheckSlug(name) != nil {
		sum := sha256.Sum256([]byte(name))
		name = "~" + hex.EncodeToString(sum[:enough])
	}
	return limit.Key{Kind: "account", Tenant: t, Name: name}
}

// addressKey counts an IPv6 client's network as one address, separately for each
// tenant: tenants may share a NAT, and must not lock each other out.
func addressKey(t tenant.ID, a netip.Addr) limit.Key {
	return limit.Key{Kind: "address", Tenant: t, Name: web.Network(a).String()}
}
