package meta

import (
	"slices"
	"strconv"
)

// UpstreamTarget is a URL of an upstream, with the credentials that only its own host gets,
// and the authorities that are trusted for it.
type UpstreamTarget struct {
	URL         string           `json:"url"`
	Username    string           `json:"username,omitempty"`
	Password    []byte           `json:"password,omitempty"`    // sealed with the deployment's key
	CA          string           `json:"ca,omitempty"`          // certificates in PEM that are trusted besides the deployment's
	Certificate string           `json:"certificate,omitempty"` // of the client, in PEM
	Key         []byte           `json:"key,omitempty"`         // of Certificate; sealed
	Headers     []UpstreamHeader `json:"headers,omitempty"`
}

// UpstreamHeader is a header of requests to an upstream.
type UpstreamHeader struct {
	Name  string `json:"name"`  // in canonical form
	Value []byte `json:"value"` // sealed
}

// hasCredential counts headers too: they may give access.
func (t UpstreamTarget) hasCredential() bool {
	return t.Username != "" || len(t.Password) > 0 || t.Certificate != "" || len(t.Headers) > 0
}

// SealedValue is a secret of an upstream: where it is, and what pkg/seal binds it to.
type SealedValue struct {
	Value    *[]byte
	Bound    string
	Password bool // of a username
}

// Secrets are all secrets of the upstream that are set. Their values may be replaced: u gets
// lists of its own.
func (u *Upstream) Secrets() []SealedValue {
	all := u.Settings.secrets(SecretsOf(*u))
	u.Settings.Alternatives = slices.Clone(u.Settings.Alternatives)
	for i := range u.Settings.Alternatives {
		a := &u.Settings.Alternatives[i]
		all = append(all, a.secrets(SecretsOfAlternative(*u, a.URL))...)
	}
	return slices.DeleteFunc(all, func(s SealedValue) bool { return len(*s.Value) == 0 })
}

func (t *UpstreamTarget) secrets(names SecretNames) []SealedValue {
	t.Headers = slices.Clone(t.Headers)
	all := []SealedValue{{&t.Password, names.Password, true}, {&t.Key, names.Key, false}}
	for i := range t.Headers {
		h := &t.Headers[i]
		all = append(all, SealedValue{&h.Value, names.Header(h.Name), false})
	}
	return all
}

// SecretNames are the names to which pkg/seal binds the secrets of a target.
type SecretNames struct {
	Password, Key string
	headers       string
}

// Header is the name for the value of a header.
func (n SecretNames) Header(name string) string { return n.headers + name }

// SecretsOf are the names for an upstream's own URL.
func SecretsOf(u Upstream) SecretNames {
	return SecretNames{Password: secretOf(u, "password"), Key: secretOf(u, "client_key"), headers: secretOf(u, "headers/")}
}

// SecretsOfAlternative are the names for another URL: a secret opens for its URL only.
func SecretsOfAlternative(u Upstream, url string) SecretNames {
	at := secretOf(u, "alternatives/"+url)
	return SecretNames{Password: at, Key: at + "/client_key", headers: at + "/headers/"}
}

func secretOf(u Upstream, what string) string {
	return "tenants/" + strconv.FormatInt(int64(u.Tenant), 10) + "/upstreams/" + u.Slug + "/" + what
}
