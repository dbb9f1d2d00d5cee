package boot

import (
	"log/slog"
	"net/url"
)

// Redacted is printed instead of a secret.
const Redacted = "[redacted]"

// Secret is a string that no log, error, trace or dump shows: every way of
// printing it gives Redacted, or nothing when it is empty. The zero value is
// the empty secret.
type Secret struct{ text string }

// NewSecret wraps a secret text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == "" }

// String redacts.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return Redacted
}

// GoString redacts %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText redacts JSON, YAML and every other encoding that asks for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue redacts slog attributes.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalText takes the text as it is; it never fails.
func (s *Secret) UnmarshalText(b []byte) error { s.text = string(b); return nil }

// URL names a server or a bucket. It may contain credentials, which are redacted
// when printed. The zero value means "local".
type URL struct{ raw string }

// NewURL wraps a URL as it was written.
func NewURL(raw string) URL { return URL{raw} }

// Reveal returns the URL with its password.
func (u URL) Reveal() string { return u.raw }

// IsZero says whether no URL was given.
func (u URL) IsZero() bool { return u.raw == "" }

// String redacts the password and the query, which may have S3 keys; text that does
// not parse as a URL is redacted completely.
func (u URL) String() string {
	if u.raw == "" {
		return ""
	}
	if u.raw == AuditStdout {
		return u.raw
	}
	p, err := url.Parse(u.raw)
	if err != nil || p.Scheme == "" || p.Opaque != "" {
		return Redacted
	}
	if p.RawQuery != "" {
		p.RawQuery = "redacted"
	}
	return p.Redacted()
}

// GoString redacts %#v.
func (u URL) GoString() string { return u.String() }

// MarshalText redacts JSON, YAML and every other encoding that asks for text.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue redacts slog attributes.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// UnmarshalText takes the text as it is; Config.Check validates it.
func (u *URL) UnmarshalText(b []byte) error { u.raw = string(b); return nil }
