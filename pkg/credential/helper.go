package credential

import (
	"log/slog"
	"net/url"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
)

// Helper obtains the credential of registries as the operator declared.
type Helper struct {
	*Held
	Name     string
	declared Declaration
}

// Helpers are those of the operator, by name. The zero value has none.
type Helpers struct{ byName map[string]*Helper }

// New makes the helpers of declarations that Parse returned. Their failures are logged.
func New(declared map[string]Declaration, log *slog.Logger) Helpers {
	all := Helpers{byName: map[string]*Helper{}}
	for name, d := range declared {
		if d.Lifetime == 0 {
			d.Lifetime = defaultLife
		}
		held := hold(newSource(d), d.Lifetime, d.obtainTimeout())
		held.failed = func(r Registry, err error) {
			log.Warn("a credential helper gave no credential", "helper", name, "registry", r.URL.Host, "error", fault.Clip(err.Error()))
		}
		all.byName[name] = &Helper{Name: name, declared: d, Held: held}
	}
	return all
}

func newSource(d Declaration) source {
	client := newClient()
	switch d.Kind {
	case ECR:
		return newECRRole(d)
	case Google:
		return google{d, client}
	case Azure:
		return azure{d, client}
	case Exchange:
		return exchange{d, client}
	case Exec:
		return newProgram(d)
	default:
		return file{d}
	}
}

// Find returns the helper of the name if it is granted to the tenant, by its slug, for
// the registry at this URL. Errors are of kind fault.Invalid and name the field
// "credential_helper". An unknown helper and one of other tenants get the same error.
func (all Helpers) Find(name, tenant string, at *url.URL) (*Helper, error) {
	h := all.byName[name]
	if h == nil || !slices.Contains(h.declared.Tenants, "*") && !slices.Contains(h.declared.Tenants, tenant) {
		return nil, invalid("there is no credential helper %q for this tenant; its operator declares them in credential_helpers", name)
	}
	if !h.Serves(at) {
		return nil, invalid("credential helper %q gives no credential to %s: the operator must add the host to its hosts", name, at.Host)
	}
	return h, nil
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...).WithField("credential_helper")
}

// serverName is the registry as Docker's credential helpers know it.
func serverName(at *url.URL) string {
	if at.Host == "registry-1.docker.io" {
		return "https://index.docker.io/v1/"
	}
	return at.Host
}
