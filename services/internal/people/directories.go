// Package people logs in people of identity providers, and reads again what the providers say
// of them.
package people

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// Store is what the package needs of a meta.Store.
type Store interface {
	meta.People
	meta.PersonTokens
	meta.Mappings
	FindTenant(ctx context.Context, slug string) (meta.Tenant, error)
	CreateTenant(ctx context.Context, by meta.Cause, t meta.Tenant, main tenant.Settings) (meta.Tenant, error)
	FindRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error)
	CreateRegistry(ctx context.Context, by meta.Cause, r meta.Registry) (meta.Registry, error)
	CreatePrincipalGroup(ctx context.Context, by meta.Cause, g meta.PrincipalGroup) (meta.PrincipalGroup, error)
	FindPrincipalGroup(ctx context.Context, t tenant.ID, slug string) (meta.PrincipalGroup, error)
	FindAccessRule(ctx context.Context, t tenant.ID, slug string) (meta.AccessRule, error)
	CreateAccessRule(ctx context.Context, by meta.Cause, r meta.AccessRule) (meta.AccessRule, error)
	FindIdentityProviderByID(ctx context.Context, id int64) (meta.IdentityProvider, error)
	ListIdentityProviders(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.IdentityProvider, error)
}

// Open makes the client of a provider. One with a method Close is closed when the provider was
// changed; what runs then ends by itself.
type Open func(ctx context.Context, p meta.IdentityProvider) (login.Directory, error)

// Directories are the clients of all providers. Safe for concurrent use.
type Directories struct {
	store     Store
	open      Open
	providers *ttlcache.Cache[tenant.ID, []meta.IdentityProvider]

	mu      sync.Mutex
	clients *simplelru.LRU[int64, client] // by IdentityProvider.ID
}

// client is that of one version of a provider.
type client struct {
	owner     tenant.ID
	version   int64
	directory login.Directory
}

// How many tenants' providers are remembered, and how many a tenant may use.
const (
	maxTenants   = 4096
	maxProviders = 1000
	maxClients   = 1000 // that are kept, of all tenants
)

// NewDirectories makes Directories; changes of providers act within tenant.CacheTTL.
func NewDirectories(s Store, o Open) *Directories {
	clients, err := simplelru.NewLRU(maxClients, func(_ int64, c client) { end(c.directory) })
	if err != nil {
		panic(err) // only for a size below 1
	}
	d := &Directories{store: s, open: o, clients: clients}
	d.providers = ttlcache.New(ttlcache.Options[tenant.ID, []meta.IdentityProvider]{Size: maxTenants, Now: time.Now, Life: tenant.CacheTTL, Load: d.load})
	return d
}

// Clear forgets which providers there are, but not their clients.
func (d *Directories) Clear() { d.providers.Clear() }

// load finds the providers by which people of the tenant may log in, the operator's first: so the
// passwords of their people do not reach those of the tenant.
func (d *Directories) load(ctx context.Context, t tenant.ID) ([]meta.IdentityProvider, error) {
	var all []meta.IdentityProvider
	for _, owner := range []tenant.ID{meta.Deployment, t} {
		found, err := d.store.ListIdentityProviders(ctx, owner, meta.Page{Size: maxProviders})
		if err != nil {
			return nil, err
		}
		d.closeOthers(owner, found)
		all = append(all, found...)
	}
	return slices.DeleteFunc(all, func(p meta.IdentityProvider) bool { return p.Disabled || !p.OfferedTo(t) }), nil
}

// closeOthers closes the clients of providers that the owner does not have any more. One that was
// made since they were read is made again.
func (d *Directories) closeOthers(owner tenant.ID, have []meta.IdentityProvider) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range d.clients.Keys() {
		c, _ := d.clients.Peek(id)
		if c.owner == owner && !slices.ContainsFunc(have, func(p meta.IdentityProvider) bool { return p.ID == id && !p.Disabled }) {
			d.clients.Remove(id)
		}
	}
}

// of returns the providers of a tenant.
func (d *Directories) of(ctx context.Context, t tenant.ID) ([]meta.IdentityProvider, error) {
	if t <= meta.Deployment { // a tenant that does not exist
		return nil, nil
	}
	return d.providers.Get(ctx, t)
}

// directory returns the client of a provider. A version that is older than one seen before
// counts no more.
func (d *Directories) directory(ctx context.Context, p meta.IdentityProvider) (login.Directory, error) {
	if c, ok := d.known(p); ok {
		return c, nil
	}
	made, err := d.open(ctx, p)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before, ok := d.clients.Get(p.ID)
	if ok && before.version >= p.Version { // another caller was faster
		end(made)
		return before.directory, nil
	}
	d.clients.Remove(p.ID) // an older one
	d.clients.Add(p.ID, client{p.Tenant, p.Version, made})
	return made, nil
}

func (d *Directories) known(p meta.IdentityProvider) (login.Directory, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.clients.Get(p.ID)
	return c.directory, ok && c.version >= p.Version
}

func end(d login.Directory) {
	if c, ok := d.(interface{ Close() }); ok {
		c.Close()
	}
}
