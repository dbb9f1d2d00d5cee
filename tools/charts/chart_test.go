package charts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/berth-registry/berth/pkg/boot"
)

const chart = "../../deployments/helm/berth"

// needed are the values without a default.
var needed = []string{"baseDomain=registry.example.com", "existingSecret=berth", "blobs.url=s3://berth?region=eu-central-1"}

// helm runs the program and returns what it wrote, and what it complained of.
func helm(t *testing.T, args ...string) (string, string, error) {
	t.Helper()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "helm", args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("this test needs helm: run tools/install helm")
	}
	return out.String(), complaint.String(), err
}

func sets(values ...string) []string {
	var args []string
	for _, v := range values {
		args = append(args, "--set", v)
	}
	return args
}

// object is as much of a Kubernetes object as the tests look at.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		Replicas int
		Ports    []struct{ Port int }
		Template struct{ Spec pod }

		PolicyTypes []string `yaml:"policyTypes"`
		PodSelector struct {
			MatchExpressions []struct{ Values []string } `yaml:"matchExpressions"`
		} `yaml:"podSelector"`
		Egress []egress

		Rules []struct {
			Host string
			HTTP struct{ Paths []struct{ Path string } }
		}
	}
}

type pod struct {
	SecurityContext struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
	} `yaml:"securityContext"`
	TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
	Containers                    []container
}

type container struct {
	Image string
	Args  []string
	Env   []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	SecurityContext struct {
		ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
		AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
	} `yaml:"securityContext"`
}

// render makes the objects of the chart with the needed values and these.
func render(t *testing.T, values ...string) []object {
	t.Helper()
	args := append([]string{"template", "test", chart, "--kube-version", "1.30"}, sets(append(slices.Clip(needed), values...)...)...)
	out, complaint, err := helm(t, args...)
	if err != nil {
		t.Fatalf("helm %q: %v\n%s", args, err, complaint)
	}
	var objects []object
	decoder := yaml.NewDecoder(strings.NewReader(out))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("the chart renders what is not YAML: %v", err)
		}
		if o.Kind != "" {
			objects = append(objects, o)
		}
	}
}

func TestChartLints(t *testing.T) {
	out, complaint, err := helm(t, append([]string{"lint", "--strict", chart}, sets(needed...)...)...)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, complaint)
	}
}

// secretValues are what the Secrets that the chart names might hold.
var secretValues = map[string]string{
	"meta":                  "postgres://berth:password@db.example.com/berth",
	"meta-owner":            "postgres://owner:password@db.example.com/berth",
	"redis":                 "redis://cache.example.com:6379/0",
	"operator-token":        "0123456789abcdef0123456789abcdef",
	"internal-key":          "fedcba9876543210fedcba9876543210",
	"secret-key":            "00112233445566778899aabbccddeeff",
	"upstream-proxies":      "corp=http://berth:secret@proxy.example.com:3128,none=direct",
	"audit-sink-token":      "the webhook's",
	"AWS_ACCESS_KEY_ID":     "id",
	"AWS_SECRET_ACCESS_KEY": "secret",
}

// config is what Berth makes of a container.
func (c container) config(t *testing.T) boot.Loaded {
	t.Helper()
	var environ []string
	for _, e := range c.Env {
		value := e.Value
		if key := e.ValueFrom.SecretKeyRef.Key; key != "" {
			if value = secretValues[key]; value == "" {
				t.Errorf("%s is from the key %q, which values.yaml does not tell of", e.Name, key)
			}
		}
		environ = append(environ, e.Name+"="+value)
	}
	if len(c.Args) == 3 && c.Args[1] == "--services" {
		environ = append(environ, "BERTH_SERVICES="+c.Args[2])
	}
	loaded, err := boot.Load(boot.Sources{Environ: environ})
	if err != nil {
		t.Errorf("berth %q does not understand its environment: %v", c.Args, err)
	}
	return loaded
}

func TestChartStartsWhatBerthUnderstands(t *testing.T) {
	for name, values := range map[string][]string{
		"the least": nil,
		"everything": {
			"redis.enabled=true", "blobs.existingSecret=s3", "migration.existingSecret=owner", "networkPolicy.enabled=true",
			"ingress.enabled=true", "ingress.tlsSecret=tls", "ingress.hosts[0]=registry.customer.example", "trustedProxies[0]=10.0.0.0/8",
			"settings.BERTH_LOG_LEVEL=debug", "services.upload.replicas=5", "image.pullSecrets[0].name=pull", "serviceAccount.name=berth",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var services []string
			for _, o := range render(t, values...) {
				for _, c := range o.Spec.Template.Spec.Containers {
					loaded := c.config(t)
					if c.Args[0] == "serve" {
						services = append(services, loaded.Services...)
						if err := loaded.Check(); err != nil {
							t.Errorf("%s would not start: %v", o.Metadata.Name, err)
						}
						if grace := o.Spec.Template.Spec.TerminationGracePeriodSeconds; float64(grace) <= loaded.ShutdownTimeout.Seconds() {
							t.Errorf("%s is killed after %d s, before its requests have drained", o.Metadata.Name, grace)
						}
					}
					if !o.Spec.Template.Spec.SecurityContext.RunAsNonRoot || !c.SecurityContext.ReadOnlyRootFilesystem || c.SecurityContext.AllowPrivilegeEscalation {
						t.Errorf("%s may do more than it needs", o.Metadata.Name)
					}
				}
			}
			slices.Sort(services)
			if want := []string{"admin", "janitor", "proxy", "registry", "token", "upload"}; !slices.Equal(services, want) {
				t.Errorf("the chart runs %v, want %v", services, want)
			}
		})
	}
}

// What a service calls another one by leads to a Service of the chart.
func TestChartLeadsToWhatIsThere(t *testing.T) {
	objects := render(t)
	there := map[string]bool{}
	for _, o := range objects {
		for _, p := range o.Spec.Ports {
			there[fmt.Sprintf("http://%s:%d", o.Metadata.Name, p.Port)] = true
		}
	}
	calls := 0
	for _, o := range objects {
		for _, c := range o.Spec.Template.Spec.Containers {
			for _, e := range c.Env {
				if strings.HasSuffix(e.Name, "_URL") {
					if calls++; !there[e.Value] {
						t.Errorf("%s of %s is %s, and there are only %v", e.Name, o.Metadata.Name, e.Value, slices.Sorted(maps.Keys(there)))
					}
				}
			}
		}
	}
	if calls == 0 {
		t.Error("no service calls another")
	}
}

// TestU85_ChartGivesAWebhookItsToken, and no other sink, which Berth would refuse.
func TestU85_ChartGivesAWebhookItsToken(t *testing.T) {
	for sink, want := range map[string]string{"stdout": "", "https://siem.example.com/berth": secretValues["audit-sink-token"]} {
		served := 0
		for _, o := range render(t, "settings.BERTH_AUDIT_SINK="+sink) {
			for _, c := range o.Spec.Template.Spec.Containers {
				if c.Args[0] != "serve" {
					continue
				}
				served++
				loaded := c.config(t)
				if err := loaded.Check(); err != nil || loaded.AuditSinkToken.Reveal() != want {
					t.Errorf("%s with %s: token %q, %v", o.Metadata.Name, sink, loaded.AuditSinkToken.Reveal(), err)
				}
			}
		}
		if served == 0 {
			t.Error("the chart serves nothing")
		}
	}
}

func TestChartRoutesHostsOfTenants(t *testing.T) {
	for _, o := range render(t, "ingress.enabled=true", "ingress.hosts[0]=registry.customer.example") {
		if o.Kind != "Ingress" {
			continue
		}
		var hosts []string
		for _, r := range o.Spec.Rules {
			hosts = append(hosts, r.Host)
			if len(r.HTTP.Paths) != 3 || r.HTTP.Paths[0].Path != `/v2/.+/blobs/uploads/[^/]*$` {
				t.Errorf("%s has the paths %v", r.Host, r.HTTP.Paths)
			}
		}
		if want := []string{"*.registry.example.com", "registry.customer.example"}; !slices.Equal(hosts, want) {
			t.Errorf("got hosts %v, want %v", hosts, want)
		}
		return
	}
	t.Error("there is no Ingress")
}

// egress is one rule of a network policy; without To it is for every address.
type egress struct {
	To []struct {
		IPBlock struct {
			CIDR   string
			Except []string
		} `yaml:"ipBlock"`
	}
	Ports []struct{ Port int }
}

// Pods reach names, each other and the servers; upstreams are for the two
// services that ask them, at public addresses unless a network is named.
func TestS90_NetworkPolicyIsOnAndHoldsWaysOut(t *testing.T) {
	everywhere := map[int]bool{}
	var policies, upstreams int
	for _, o := range render(t, "blobs.url=s3://berth?endpoint=http://s3.example.com:7070&region=x", "networkPolicy.upstreamNetworks[0]=10.1.0.0/16") {
		if o.Kind != "NetworkPolicy" {
			continue
		}
		policies++
		if !slices.Contains(o.Spec.PolicyTypes, "Egress") {
			t.Errorf("%s says nothing of ways out", o.Metadata.Name)
		}
		for _, rule := range o.Spec.Egress {
			if len(rule.To) == 0 {
				for _, p := range rule.Ports {
					everywhere[p.Port] = true
				}
				if len(rule.Ports) == 0 {
					t.Errorf("%s has a way to every port of every address", o.Metadata.Name)
				}
			}
			for _, to := range rule.To {
				switch to.IPBlock.CIDR {
				case "0.0.0.0/0":
					upstreams++
					if !slices.Contains(to.IPBlock.Except, "169.254.0.0/16") || !slices.Contains(to.IPBlock.Except, "10.0.0.0/8") {
						t.Errorf("upstreams may be at private addresses: all but %v", to.IPBlock.Except)
					}
				case "10.1.0.0/16":
					upstreams++
				default:
					continue
				}
				if got := o.Spec.PodSelector.MatchExpressions; len(got) != 1 || !slices.Equal(got[0].Values, []string{"proxy", "admin"}) {
					t.Errorf("%s has a way to upstreams for %v", o.Metadata.Name, got)
				}
			}
		}
	}
	if want := map[int]bool{53: true, 5432: true, 6379: true, 7070: true}; policies != 2 || upstreams != 2 || !maps.Equal(everywhere, want) {
		t.Errorf("%d policies, %d networks of upstreams, ports at any address %v; want 2, 2, %v", policies, upstreams, everywhere, want)
	}
}

func TestS90_StorePortFollowsTheURL(t *testing.T) {
	for url, want := range map[string]int{
		"s3://berth?region=eu-central-1":                                   443,
		"s3://berth?endpoint=https://s3.example.com&region=x":              443,
		"s3://berth?endpoint=http://s3&path_style=true":                    80,
		"s3://berth?region=x&endpoint=https%3A%2F%2Fs3.example.com%3A9000": 9000,
	} {
		found := false
		for _, o := range render(t, "blobs.url="+url) {
			for _, rule := range o.Spec.Egress {
				for _, p := range rule.Ports {
					found = found || len(rule.To) == 0 && p.Port == want
				}
			}
		}
		if !found {
			t.Errorf("no way to port %d for %s", want, url)
		}
	}
}

func TestS90_DigestGoesBeforeTheTag(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	images := 0
	for _, o := range render(t, "image.digest="+digest, "image.tag=1.0") {
		for _, c := range o.Spec.Template.Spec.Containers {
			if images++; c.Image != "berth@"+digest {
				t.Errorf("%s runs %s", o.Metadata.Name, c.Image)
			}
		}
	}
	if images == 0 {
		t.Error("the chart runs no image")
	}
}

func TestSchemaRefusesNonsense(t *testing.T) {
	for value, want := range map[string]string{
		"existingSecret=":               "existingSecret",
		"baseDomain=Registry_1":         "baseDomain",
		"blobs.url=https://example.com": "url",
		"services.upload.replicas=-1":   "replicas",
		"services.uplaod.replicas=1":    "uplaod",
		"operatorToken=x":               "operatorToken",
		"publicScheme=ftp":              "publicScheme",
		"settings.LOG_LEVEL=debug":      "LOG_LEVEL",
		"trustedProxies[0]=everybody":   "trustedProxies",
		"spool.sizeLimit=10":            "sizeLimit",
		"image.digest=sha256:abc":       "digest",

		"networkPolicy.upstreamNetworks[0]=intranet": "upstreamNetworks",
		"networkPolicy.storePorts[0]=0":              "storePorts",
	} {
		args := append([]string{"template", "test", chart, "--kube-version", "1.30"}, sets(append(slices.Clip(needed), value)...)...)
		if _, complaint, err := helm(t, args...); err == nil || !strings.Contains(complaint, want) {
			t.Errorf("%s: got %v and %q, want a complaint of %s", value, err, complaint, want)
		}
	}
}

// TestS26_ChartSpeaksTLSWhereSecretsAreNamed, and says which listeners do not.
func TestS26_ChartSpeaksTLSWhereSecretsAreNamed(t *testing.T) {
	for _, c := range []struct {
		values []string
		plain  string // listeners without TLS
		scheme string // of calls between services
		admin  string // directory of the admin API's certificates
	}{
		{nil, "admin,internal", "http", ""},
		{[]string{"tls.internal.existingSecret=wire", "tls.internal.name=berth.internal"}, "admin", "https", ""},
		{[]string{"tls.admin.existingSecret=admin"}, "internal", "http", "/admin-tls"},
		{[]string{"tls.admin.existingSecret=admin", "tls.internal.existingSecret=wire"}, "", "https", "/admin-tls"},
	} {
		for _, o := range render(t, c.values...) {
			if o.Kind != "Deployment" {
				continue
			}
			got := map[string]string{}
			for _, e := range o.Spec.Template.Spec.Containers[0].Env {
				got[e.Name] = e.Value
			}
			want := map[string]string{"BERTH_PLAINTEXT_LISTENERS": c.plain, "BERTH_PROXY_URL": c.scheme + "://test-proxy:5091"}
			if c.scheme == "https" {
				want["BERTH_INTERNAL_TLS_CERTS"], want["BERTH_INTERNAL_TLS_CA"] = "/internal-tls/pair", "/internal-tls/ca.crt"
			}
			if strings.HasSuffix(o.Metadata.Name, "-admin") {
				want["BERTH_ADMIN_TLS_CERTS"] = c.admin
			}
			for name, value := range want {
				if got[name] != value {
					t.Errorf("%v: %s has %s %q, want %q", c.values, o.Metadata.Name, name, got[name], value)
				}
			}
		}
	}
}
