package policy

import (
	"slices"
	"time"
	"unique"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// knownVerdicts is how many verdicts a process remembers.
const knownVerdicts = 65536

// Verdicts remember which manifests are signed, so that a pull of one that was verified
// costs neither a statement nor a request. They are safe for concurrent use.
type Verdicts struct {
	known *ttlcache.Cache[verdictKey, verdict]
}

// NewVerdicts makes empty Verdicts. now is the clock.
func NewVerdicts(now func() time.Time) *Verdicts {
	return &Verdicts{ttlcache.New(ttlcache.Options[verdictKey, verdict]{Size: knownVerdicts, Now: now})}
}

// verdictKey is of one cache: what another tenant, upstream or credential has verified does
// not count.
type verdictKey struct {
	registry tenant.RegistryID
	name     string
	digest   oci.Digest
}

func keyOf(r meta.Repo, d oci.Digest) verdictKey { return verdictKey{r.Registry, r.Name, d} }

// verdict is what is known of a manifest. A signature stays valid, so keys count as long as
// the settings have them, whatever else changes.
type verdict struct {
	keys       []unique.Handle[string] // those in PEM that verified a signature
	identified bool                    // one of the signers' identities did; no rule of an upstream has any
	evidence   bool                    // it needs no signature
	by         []oci.Digest            // cached manifests that show it: signatures, and an index
	refusal    error                   // why it is not served; nil if it is
	version    int64                   // of the upstream that was refused
}

// meets reports whether the keys are enough for all rules.
func (v verdict) meets(rules []meta.SignatureRule) bool {
	for _, rule := range rules {
		if !slices.ContainsFunc(v.keys, func(k unique.Handle[string]) bool { return slices.Contains(rule.Keys, k.Value()) }) {
			return false
		}
	}
	return true
}

// serves reports whether the manifest may be served by the rules.
func (v verdict) serves(rules []meta.SignatureRule) bool { return v.evidence || v.meets(rules) }

// add adds what verified the manifest.
func (v *verdict) add(pem string, by oci.Digest) {
	v.keys = append(v.keys, unique.Make(pem))
	v.shownBy(by)
}

// shownBy adds a manifest that shows that it is signed.
func (v *verdict) shownBy(by oci.Digest) {
	if by != "" && !slices.Contains(v.by, by) {
		v.by = append(v.by, by)
	}
}

// maxRemembered is for how many manifests in a signed index its verdict is remembered. For
// the others, the index is looked up.
const maxRemembered = 256

// remember keeps the verdict of a manifest and, if it is that of a signed index, for those in
// it.
func (v *Verdicts) remember(r meta.Repo, d oci.Digest, said verdict, children []oci.Descriptor) {
	v.known.Put(keyOf(r, d), said, Forever)
	if said.evidence {
		return
	}
	said.by = append(slices.Clone(said.by), d)
	for _, c := range children[:min(len(children), maxRemembered)] {
		v.known.Put(keyOf(r, c.Digest), said, Forever)
	}
}
