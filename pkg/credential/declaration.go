package credential

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Declaration is one helper as the operator declares it. Which fields a kind takes is
// in kindFields.
type Declaration struct {
	Kind     Kind          `yaml:"kind"`
	Tenants  []string      `yaml:"tenants"`  // slugs of those that may use it; "*" for all
	Hosts    []string      `yaml:"hosts"`    // "host", "host:port" or "*.domain", besides those of the kind
	Lifetime time.Duration `yaml:"lifetime"` // of a credential that does not say; 0: 5 minutes

	Region           string `yaml:"region"`            // of AWS, where the host does not say
	RoleARN          string `yaml:"role_arn"`          // role to assume
	ExternalID       string `yaml:"external_id"`       // for role_arn
	Endpoint         string `yaml:"endpoint"`          // URL of ECR's API, such as a VPC endpoint
	STSEndpoint      string `yaml:"sts_endpoint"`      // URL of AWS STS
	MetadataEndpoint string `yaml:"metadata_endpoint"` // URL of the cloud's metadata server

	CredentialsFile string `yaml:"credentials_file"` // of Google: a service account, or workload identity federation
	Scope           string `yaml:"scope"`

	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
	TenantID         string `yaml:"tenant_id"`  // of Microsoft Entra
	Authority        string `yaml:"authority"`  // URL of Microsoft Entra
	TokenFile        string `yaml:"token_file"` // with the workload's own token

	TokenURL  string `yaml:"token_url"`
	TokenType string `yaml:"token_type"`
	Audience  string `yaml:"audience"`
	Resource  string `yaml:"resource"`
	Username  string `yaml:"username"` // that goes with the secret

	Command []string      `yaml:"command"` // absolute path and arguments; "get" is added
	Env     []string      `yaml:"env"`     // NAME=value, or NAME to pass on this process's
	Timeout time.Duration `yaml:"timeout"` // of a run; 0: 10 seconds
	Path    string        `yaml:"path"`
}

// kindFields are the fields that a kind takes besides kind, tenants, hosts and
// lifetime; those with a "!" are required.
var kindFields = map[Kind][]string{
	ECR:      {"region", "role_arn", "external_id", "token_file", "endpoint", "sts_endpoint", "metadata_endpoint"},
	Google:   {"credentials_file", "scope", "metadata_endpoint"},
	Azure:    {"client_id", "tenant_id", "token_file", "authority", "scope", "metadata_endpoint"},
	Exchange: {"!hosts", "!token_url", "!token_file", "!username", "token_type", "audience", "scope", "resource", "client_id", "client_secret_file"},
	Exec:     {"!hosts", "!command", "env", "timeout"},
	File:     {"!hosts", "!path", "username"},
}

// Bounds of times.
const (
	defaultLife = 5 * time.Minute
	minLife     = 10 * time.Second
	maxLife     = 24 * time.Hour
	execTimeout = 10 * time.Second
	maxTimeout  = time.Minute
)

// Parse reads declarations by name, in YAML. The error names each mistake.
func Parse(text []byte) (map[string]Declaration, error) {
	var all map[string]Declaration
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&all); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("is not YAML of the form `name: {kind: ecr, tenants: [acme]}`: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if tenant.CheckSlug(name) != nil {
			problems = append(problems, fmt.Errorf("%q is not a name of lower-case letters, digits and dashes", name))
		}
		for _, problem := range all[name].check() {
			problems = append(problems, fmt.Errorf("%s: %s", name, problem))
		}
	}
	return all, errors.Join(problems...)
}

func (d Declaration) check() []string {
	takes, ok := kindFields[d.Kind]
	if !ok {
		kinds := slices.Sorted(maps.Keys(kindFields))
		return []string{fmt.Sprintf("kind %q is not one of %v", d.Kind, kinds)}
	}
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	fields := reflect.ValueOf(d)
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Tag.Get("yaml")
		set := !fields.Field(i).IsZero()
		switch {
		case !set && slices.Contains(takes, "!"+name):
			add("kind %s needs %s", d.Kind, name)
		case set && !slices.Contains([]string{"kind", "tenants", "hosts", "lifetime"}, name) &&
			!slices.Contains(takes, name) && !slices.Contains(takes, "!"+name):
			add("kind %s takes no %s", d.Kind, name)
		}
	}
	if len(d.Tenants) == 0 {
		add("tenants is empty; name those that may use it, or \"*\" for all")
	}
	for _, slug := range d.Tenants {
		if slug != "*" && tenant.CheckSlug(slug) != nil {
			add("tenants: %q is not the slug of a tenant", slug)
		}
	}
	for _, host := range d.Hosts {
		if problem := checkHost(host); problem != "" {
			add("hosts: %q %s", host, problem)
		}
	}
	if d.Lifetime != 0 && (d.Lifetime < minLife || d.Lifetime > maxLife) {
		add("lifetime: %s is out of range, from %s to %s", d.Lifetime, minLife, maxLife)
	}
	if d.Timeout < 0 || d.Timeout > maxTimeout {
		add("timeout: %s is out of range, from 1s to %s", d.Timeout, maxTimeout)
	}
	if len(d.Command) > 0 && !filepath.IsAbs(d.Command[0]) {
		add("command: %q is not an absolute path", d.Command[0])
	}
	for key, raw := range map[string]string{
		"endpoint": d.Endpoint, "sts_endpoint": d.STSEndpoint, "token_url": d.TokenURL, "authority": d.Authority, "metadata_endpoint": d.MetadataEndpoint,
	} {
		if problem := checkURL(raw, key == "metadata_endpoint"); raw != "" && problem != "" {
			add("%s: %s", key, problem)
		}
	}
	slices.Sort(problems)
	return problems
}

func checkHost(host string) string {
	name := strings.TrimPrefix(host, "*.")
	u, err := url.Parse("https://" + name)
	if err != nil || u.Host != name || u.Hostname() == "" || strings.ContainsAny(name, "*/@") || strings.ToLower(name) != name || name != host && u.Port() != "" {
		return "is not like registry.example.com, registry.example.com:5000 or *.example.com, in lower case"
	}
	return ""
}

// checkURL accepts https, and http where no secret crosses a network: on this machine,
// or from a metadata server.
func checkURL(raw string, metadata bool) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return "is not a URL like https://sts.example.com"
	case u.Scheme == "https" || metadata || isLoopback(u.Hostname()):
		return ""
	default:
		return "is http; a secret needs https, except on this machine"
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
