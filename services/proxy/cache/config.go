package cache

import (
	"fmt"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// configOf is how an upstream is asked, with its secrets opened.
func (c *Caches) configOf(u meta.Upstream, tenantSlug string) (upstream.Config, error) {
	set := u.Settings
	config := upstream.Config{
		Key:    fmt.Sprintf("%d/%d", u.Tenant, u.ID),
		Tenant: tenantSlug, Upstream: u.Slug,
		URL: set.URL, Username: set.Username, AuthHosts: set.AuthHosts,
		TrustNotFound: set.TrustNotFound, Proxy: set.Proxy, CA: set.CA, ClientCertificate: set.Certificate,
		Limits: upstream.Limits{Connect: set.Connect, Response: set.Response, Progress: set.Progress, Pace: set.Pace, Requests: set.MaxRequests},
	}
	var err error
	if config.Password, err = c.open(u, set.Password, "password", meta.PasswordOf(u)); err != nil {
		return config, err
	}
	if config.ClientKey, err = c.open(u, set.Key, "client_key", meta.KeyOf(u)); err != nil {
		return config, err
	}
	for _, h := range set.Headers {
		value, err := c.open(u, h.Value, "value of a header", meta.HeaderOf(u, h.Name))
		if err != nil {
			return config, err
		}
		if config.Headers == nil {
			config.Headers = map[string]string{}
		}
		config.Headers[h.Name] = value
	}
	for _, a := range set.Alternatives {
		password, err := c.open(u, a.Password, "password of an alternative", meta.AlternativeOf(u, a.URL))
		if err != nil {
			return config, err
		}
		config.Alternatives = append(config.Alternatives, upstream.Endpoint{URL: a.URL, Username: a.Username, Password: password})
	}
	return config, nil
}

// open opens a secret of the upstream; an empty one is empty.
func (c *Caches) open(u meta.Upstream, sealed []byte, what, bound string) (string, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	secret, err := c.Secrets.Open(sealed, bound)
	if err != nil {
		return "", chain.Internal(fault.Wrap(err, fault.Unavailable, fault.UnavailableReason,
			"the %s of upstream %q cannot be opened with the secret_key of this deployment: give it again, or set old_secret_key to the key before", what, u.Slug))
	}
	return secret, nil
}
