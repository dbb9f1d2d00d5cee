package boot

import (
	"net/url"
	"slices"
	"strings"
)

// Embedded reports whether the deployment is a single process that keeps metadata
// in its data directory.
func (c Config) Embedded() bool { return c.Meta.IsZero() }

// store is a setting that names a server, or is empty for a local store.
type store struct {
	key     string
	url     URL
	schemes []string
	example string
}

// CheckStores is Check for a command that only opens the stores.
func (c Config) CheckStores() error {
	var p Problems
	c.checkStores(&p)
	return p.orNil()
}

// checkStores refuses invalid addresses, and a mix of shared and local stores.
func (c Config) checkStores(p *Problems) {
	for _, s := range []store{
		{"meta", c.Meta, []string{"postgres", "postgresql"}, "postgres://berth@db.example.com/berth"},
		{"blobs", c.Blobs, []string{"s3"}, "s3://bucket?region=eu-central-1"},
		{"redis", c.Redis, []string{"redis", "rediss", "unix"}, "redis://cache.example.com:6379/0"},
	} {
		s.check(p)
	}
	if c.DataDir == "" && (c.Meta.IsZero() || c.Blobs.IsZero()) {
		p.add("data_dir", "is empty; name the directory that shall hold the registry's data")
	}
	if !c.Meta.IsZero() && c.Blobs.IsZero() {
		p.add("blobs", "is empty, so that blobs would be files of this machine, while meta is a database that other machines share and would not find them; set blobs to s3://…")
	}
}

func (s store) check(p *Problems) {
	if s.url.IsZero() {
		return
	}
	u, err := url.Parse(s.url.Reveal())
	if err != nil || !slices.Contains(s.schemes, u.Scheme) || u.Host == "" && u.Path == "" {
		p.add(s.key, "%s is not of the form %s; leave it empty to do without a server", s.url, s.example)
		return
	}
	// Refuse redacted values of `config print`.
	if password, _ := u.User.Password(); password == "xxxxx" || strings.Contains(u.RawQuery, "redacted") {
		p.add(s.key, "%s is what was printed, without its secrets; put the URL itself", s.url)
	}
}
