package meta

import (
	"slices"
	"time"
)

// UpstreamEgress is how an upstream is reached. Zero values mean the defaults.
type UpstreamEgress struct {
	Proxy        string             `json:"proxy,omitempty"`        // name of a proxy of the deployment; empty: its default
	CA           string             `json:"ca,omitempty"`           // certificates in PEM that are trusted besides the deployment's
	Certificate  string             `json:"certificate,omitempty"`  // of the client, in PEM
	Key          []byte             `json:"key,omitempty"`          // of Certificate; sealed
	Headers      []UpstreamHeader   `json:"headers,omitempty"`      // for the upstream's own host
	Alternatives []UpstreamEndpoint `json:"alternatives,omitempty"` // asked in order while those before do not answer
	Connect      time.Duration      `json:"connect,omitempty"`      // to resolve and connect
	Response     time.Duration      `json:"response,omitempty"`     // for a document, or the header of a blob
	Progress     time.Duration      `json:"progress,omitempty"`     // for the next part of a blob
	Pace         float64            `json:"pace,omitempty"`         // requests per second and process
	MaxRequests  int                `json:"max_requests,omitempty"` // in flight, per process
}

// UpstreamHeader is a header of requests to an upstream.
type UpstreamHeader struct {
	Name  string `json:"name"`  // in canonical form
	Value []byte `json:"value"` // sealed
}

// UpstreamEndpoint is another URL of an upstream, with a credential of its own.
type UpstreamEndpoint struct {
	URL      string `json:"url"`
	Username string `json:"username,omitempty"`
	Password []byte `json:"password,omitempty"` // sealed
}

// hasCredential counts headers too: they may give access.
func (e UpstreamEgress) hasCredential() bool {
	return e.Certificate != "" || len(e.Headers) > 0 ||
		slices.ContainsFunc(e.Alternatives, func(a UpstreamEndpoint) bool { return a.Username != "" || len(a.Password) > 0 })
}

// SealedValue is a secret of an upstream: where it is, and what pkg/seal binds it to.
type SealedValue struct {
	Value *[]byte
	Bound string
}

// Secrets are all secrets of the upstream that are set. Their values may be replaced: u gets
// lists of its own.
func (u *Upstream) Secrets() []SealedValue {
	u.Settings.Headers = slices.Clone(u.Settings.Headers)
	u.Settings.Alternatives = slices.Clone(u.Settings.Alternatives)
	all := []SealedValue{{&u.Settings.Password, PasswordOf(*u)}, {&u.Settings.Key, KeyOf(*u)}}
	for i := range u.Settings.Headers {
		h := &u.Settings.Headers[i]
		all = append(all, SealedValue{&h.Value, HeaderOf(*u, h.Name)})
	}
	for i := range u.Settings.Alternatives {
		a := &u.Settings.Alternatives[i]
		all = append(all, SealedValue{&a.Password, AlternativeOf(*u, a.URL)})
	}
	return slices.DeleteFunc(all, func(s SealedValue) bool { return len(*s.Value) == 0 })
}

// KeyOf is PasswordOf for the key of the client certificate.
func KeyOf(u Upstream) string { return SecretOf(u, "client_key") }

// HeaderOf is PasswordOf for the value of a header.
func HeaderOf(u Upstream, name string) string { return SecretOf(u, "headers/"+name) }

// AlternativeOf is PasswordOf for another URL: a password opens for its URL only.
func AlternativeOf(u Upstream, url string) string { return SecretOf(u, "alternatives/"+url) }
