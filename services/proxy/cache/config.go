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
	own, err := c.target(u, "", set.UpstreamTarget, meta.SecretsOf(u))
	if err != nil {
		return upstream.Config{}, err
	}
	config := upstream.Config{
		Key:    fmt.Sprintf("%d/%d", u.Tenant, u.ID),
		Tenant: tenantSlug, Upstream: u.Slug,
		Target: own, AuthHosts: set.AuthHosts, TrustNotFound: set.TrustNotFound, Proxy: set.Proxy,
		Limits: upstream.Limits{Connect: set.Connect, Response: set.Response, Progress: set.Progress, Pace: set.Pace, Requests: set.MaxRequests},
	}
	for _, a := range set.Alternatives {
		other, err := c.target(u, " of an alternative", a, meta.SecretsOfAlternative(u, a.URL))
		if err != nil {
			return config, err
		}
		config.Alternatives = append(config.Alternatives, other)
	}
	return config, nil
}

// target opens the secrets of a target of the upstream; where says which one it is, in
// errors.
func (c *Caches) target(u meta.Upstream, where string, t meta.UpstreamTarget, names meta.SecretNames) (upstream.Target, error) {
	opened := upstream.Target{URL: t.URL, Username: t.Username, CA: t.CA, ClientCertificate: t.Certificate}
	var err error
	if opened.Password, err = c.open(u, t.Password, "password"+where, names.Password); err != nil {
		return opened, err
	}
	if opened.ClientKey, err = c.open(u, t.Key, "client_key"+where, names.Key); err != nil {
		return opened, err
	}
	for _, h := range t.Headers {
		value, err := c.open(u, h.Value, "value of a header"+where, names.Header(h.Name))
		if err != nil {
			return opened, err
		}
		if opened.Headers == nil {
			opened.Headers = map[string]string{}
		}
		opened.Headers[h.Name] = value
	}
	return opened, nil
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
