package meta

import "time"

// UpstreamTagRule is how long certain tags are served without asking again.
type UpstreamTagRule struct {
	Tags      []string      `json:"tags,omitempty"`     // patterns
	Versions  string        `json:"versions,omitempty"` // a range of Semantic Versions
	TTL       time.Duration `json:"ttl,omitempty"`
	Immutable bool          `json:"immutable,omitempty"` // never asked for again; TTL is 0
}

// SignatureRule says by which keys manifests of repositories must be signed.
type SignatureRule struct {
	Repositories []string `json:"repositories,omitempty"` // patterns of the upstream's own names; empty takes all
	Keys         []string `json:"keys"`                   // public keys in PEM, of which one suffices
}

// HasRules reports whether manifests are checked before they are served.
func (s UpstreamSettings) HasRules() bool {
	return s.MinAge > 0 || len(s.Platforms)+len(s.DeniedPlatforms)+len(s.Licenses)+len(s.Signatures) > 0
}
