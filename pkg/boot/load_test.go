package boot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreGood(t *testing.T) {
	l, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.Config, Default()) {
		t.Errorf("loading nothing gives %+v", l.Config)
	}
}

func TestEveryFieldIsASetting(t *testing.T) {
	for i, key := range Keys() {
		field := reflect.TypeFor[Config]().Field(i)
		if key == "" || key != strings.ToLower(key) {
			t.Errorf("field %s has the key %q", field.Name, key)
		}
		if field.Tag.Get("help") == "" && field.Tag.Get("kong") != "-" {
			t.Errorf("field %s has no help", field.Name)
		}
	}
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	file := writeFile(t, "berth.yaml", "base_domain: file.test\ndata_dir: /file\nupload_ttl: 1h\nredis:\n")
	l, err := Load(Sources{
		Environ: []string{"BERTH_CONFIG=" + file, "BERTH_DATA_DIR=/env", "BERTH_UPLOAD_TTL=2h", "BERTH_SEED=", "PATH=/bin"},
		Flags:   map[string]any{"upload_ttl": 3 * time.Hour, "anonymous_push": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key       string
		got, want any
		from      Origin
	}{
		{"base_domain", l.BaseDomain, "file.test", FromFile},
		{"data_dir", l.DataDir, "/env", FromEnv},
		{"upload_ttl", l.UploadTTL, 3 * time.Hour, FromFlag},
		{"anonymous_push", l.AnonymousPush, true, FromFlag},
		{"redis", l.Redis, URL{}, FromDefault},
		{"seed", l.Seed, "", FromDefault},
		{"log_level", l.LogLevel, "info", FromDefault},
	} {
		if c.got != c.want || l.Origins[c.key] != c.from {
			t.Errorf("%s = %v from %s, want %v from %s", c.key, c.got, l.Origins[c.key], c.want, c.from)
		}
	}
}

func TestEveryTypeIsReadFromFileAndEnvironment(t *testing.T) {
	file := writeFile(t, "berth.yaml", `
trusted_proxies: [10.0.0.0/8, "::1/128"]
upstream_allow: [127.0.0.0/8]
anonymous_push: true
max_staged_bytes: 5GiB
grace: 90m
operator_token: 0123456789abcdef0123456789abcdef
meta: postgres://db/berth
`)
	fromFile, err := Load(Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	fromEnv, err := Load(Sources{Environ: []string{
		"BERTH_TRUSTED_PROXIES=10.0.0.0/8, ::1/128", "BERTH_UPSTREAM_ALLOW=127.0.0.0/8", "BERTH_ANONYMOUS_PUSH=1", "BERTH_MAX_STAGED_BYTES=5368709120", "BERTH_GRACE=1h30m",
		"BERTH_OPERATOR_TOKEN=0123456789abcdef0123456789abcdef", "BERTH_META=postgres://db/berth",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromFile.Config, fromEnv.Config) {
		t.Errorf("file:        %+v\nenvironment: %+v", fromFile.Config, fromEnv.Config)
	}
	if len(fromFile.TrustedProxies) != 2 || len(fromFile.UpstreamAllow) != 1 || fromFile.MaxStagedBytes != 5<<30 || fromFile.Grace != 90*time.Minute {
		t.Errorf("read %+v", fromFile.Config)
	}
}

func TestProblemsNameSettingAndRemedy(t *testing.T) {
	for _, c := range []struct{ name, yaml, env, want string }{
		{"unknown key", "data_dri: x", "", "data_dri: unknown setting in FILE; did you mean data_dir?"},
		{"unknown variable", "", "BERTH_OPS_ADR=x", "ops_adr: unknown setting in BERTH_OPS_ADR; did you mean ops_addr?"},
		{"nothing near", "zzzzzzzzz: x", "", "zzzzzzzzz: unknown setting in FILE; `berth config print` lists the settings"},
		{"nested", "data_dir: {path: x}", "", "data_dir: takes no keys of its own (from FILE)"},
		{"no unit in the file", "grace: 30", "", `grace: "30" needs a number and a unit, such as 90s, 15m or 720h (from FILE)`},
		{"no unit in the environment", "", "BERTH_GRACE=30", `grace: "30" needs a number and a unit, such as 90s, 15m or 720h (from BERTH_GRACE)`},
		{"bool", "", "BERTH_ANONYMOUS_PUSH=maybe", `anonymous_push: "maybe" is neither true nor false (from BERTH_ANONYMOUS_PUSH)`},
		{"size", "max_staged_bytes: many", "", `max_staged_bytes: "many" is not a number of bytes, such as 512MiB or 20GB (from FILE)`},
		{"network", "trusted_proxies: [10.0.0.1]", "", `trusted_proxies: "[10.0.0.1]" is not a network such as 10.0.0.0/8 (from FILE)`},
		{"text", "base_domain: 5", "", `base_domain: "5" is not text; put it in quotes (from FILE)`},
		{"secret", "operator_token: [hunter2]", "", `operator_token: the value is not text; put it in quotes (from FILE)`},
		{"both tokens", "operator_token: x\noperator_token_file: y", "", "operator_token: operator_token and operator_token_file are both set in the file; keep one"},
		{"token file", "", "BERTH_OPERATOR_TOKEN_FILE=/none", "operator_token_file: cannot read /none: no such file or directory"},
		{"list at the top", "- a", "", "config file: FILE is not YAML of the form `key: value`: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := Sources{Environ: []string{c.env}}
			if c.yaml != "" {
				src.File = writeFile(t, "berth.yaml", c.yaml)
			}
			_, err := Load(src)
			want := strings.ReplaceAll(c.want, "FILE", src.File)
			if c.env == "" && src.File == "" || err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestMissingFileIsAProblem(t *testing.T) {
	_, err := Load(Sources{File: "/none/berth.yaml"})
	if want := "config file: cannot read /none/berth.yaml: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestKubernetesServiceVariablesAreNoSettings(t *testing.T) {
	_, err := Load(Sources{Environ: []string{
		"BERTH_SERVICE_HOST=10.0.0.1", "BERTH_SERVICE_PORT=5000", "BERTH_SERVICE_PORT_DATA=5000", "BERTH_PORT=tcp://10.0.0.1:5000",
		"BERTH_PORT_5000_TCP=tcp://10.0.0.1:5000", "BERTH_PORT_5000_TCP_ADDR=10.0.0.1", "BERTH_ADMIN_SERVICE_HOST=10.0.0.2",
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestOperatorTokenFromFile(t *testing.T) {
	file := writeFile(t, "token", "0123456789abcdef0123456789abcdef\n")
	l, err := Load(Sources{Environ: []string{"BERTH_OPERATOR_TOKEN_FILE=" + file}})
	if err != nil || l.OperatorToken.Reveal() != "0123456789abcdef0123456789abcdef" {
		t.Errorf("token %q, error %v", l.OperatorToken.Reveal(), err)
	}
	// A stronger source wins over the file that a weaker one names.
	config := writeFile(t, "berth.yaml", "operator_token_file: "+file)
	l, err = Load(Sources{File: config, Environ: []string{"BERTH_OPERATOR_TOKEN=another"}})
	if err != nil || l.OperatorToken.Reveal() != "another" {
		t.Errorf("token %q, error %v", l.OperatorToken.Reveal(), err)
	}
}

func TestOpenTelemetryVariableStandsBelowOurs(t *testing.T) {
	otel := "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317"
	l, err := Load(Sources{Environ: []string{otel}})
	if err != nil || l.OTELEndpoint != "http://127.0.0.1:4317" {
		t.Errorf("%q, error %v", l.OTELEndpoint, err)
	}
	file := writeFile(t, "berth.yaml", "otel_endpoint: http://file:4317")
	l, err = Load(Sources{File: file, Environ: []string{otel}})
	if err != nil || l.OTELEndpoint != "http://file:4317" {
		t.Errorf("%q, error %v", l.OTELEndpoint, err)
	}
}

func TestCheckNamesEachSetting(t *testing.T) {
	c := Default()
	c.DataDir = ""
	c.Meta = NewURL("postgres://u:hunter2@db/berth")
	c.BaseDomain = "Example.com:5000"
	c.HostPattern = "{tenant}"
	c.PublicScheme = "ftp"
	c.OperatorToken = NewSecret("hunter2")
	c.DataAddr, c.AdminAddr, c.OpsAddr = "5000", "127.0.0.1:5081", ":http"
	c.TLSCerts, c.Seed = "/none", "/none"
	c.OTELEndpoint = "localhost:4317"
	c.UploadTTL, c.DeleteDelay, c.NameQuarantine, c.UndeleteWindow, c.MaxStagedBytes = 0, MinDeleteDelay-1, -1, -1, 0
	c.LogLevel, c.LogFormat = "loud", "xml"

	err := c.Check()
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Setting)
	}
	want := []string{
		"data_dir", "blobs", "secret_key", "base_domain", "host_pattern", "public_scheme", "operator_token", "data_addr", "admin_grpc_addr", "ops_addr",
		"otel_endpoint", "tls_certs", "seed", "upload_ttl", "delete_delay", "name_quarantine", "undelete_window", "max_staged_bytes", "log_level", "log_format",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v\n%v", got, want, err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret is in %v", err)
	}
}

// What would only look as if it worked is refused, with the reason.
func TestCheckRefusesUnsafeDeployments(t *testing.T) {
	token := NewSecret(strings.Repeat("t", 32))
	cluster := func(edit func(*Config)) Config {
		c := Default()
		c.Meta, c.Blobs = NewURL("postgres://berth:hunter2@db/berth"), NewURL("s3://bucket?region=x")
		c.OperatorToken, c.InternalKey, c.SecretKey = token, token, token
		edit(&c)
		return c
	}
	for _, c := range []struct {
		name string
		edit func(*Config)
		want string // the setting that is named; empty without a problem
		why  string
	}{
		{"a cluster", func(*Config) {}, "", ""},
		{"no directory", func(c *Config) { c.DataDir = "" }, "", ""},
		{"one service", func(c *Config) { c.Services = []string{UploadService} }, "", ""},
		{"SQLite and a bucket", func(c *Config) { c.Meta = URL{} }, "", ""},
		{"a database and files", func(c *Config) { c.Blobs = URL{} }, "blobs", "other machines"},
		{"no common operator token", func(c *Config) { c.OperatorToken = Secret{} }, "operator_token", "share"},
		{"no operator token where none is needed", func(c *Config) { c.OperatorToken, c.Services = Secret{}, []string{JanitorService} }, "", ""},
		{"no secret key", func(c *Config) { c.SecretKey = Secret{} }, "secret_key", "sign tokens"},
		{"no secret key where none is needed", func(c *Config) { c.SecretKey, c.Services = Secret{}, []string{RegistryService} }, "", ""},
		{"signing keys that change all the time", func(c *Config) { c.SigningKeyLife = time.Minute }, "signing_key_life", "1h"},
		{"one service on SQLite", func(c *Config) { c.Meta, c.Services = URL{}, []string{RegistryService} }, "services", "one process at a time"},
		{"an unknown service", func(c *Config) { c.Services = []string{"storage"} }, "services", "registry, upload"},
		{"a service twice", func(c *Config) { c.Services = []string{TokenService, TokenService} }, "services", "twice"},
		{"calls without a key", func(c *Config) {
			c.Services, c.UploadURL, c.InternalKey = []string{RegistryService}, NewURL("http://up:5091"), Secret{}
		}, "internal_key", "sign"},
		{"calls of a proxy service without a key", func(c *Config) {
			c.Services, c.ProxyURL, c.InternalKey = []string{RegistryService}, NewURL("http://proxy:5091"), Secret{}
		}, "internal_key", "proxy_url"},
		{"a proxy service that no one can ask", func(c *Config) { c.Services, c.InternalKey = []string{ProxyService}, Secret{} }, "internal_key", "registry"},
		{"a proxy service beside the registry service", func(c *Config) {
			c.Services, c.InternalKey = []string{ProxyService, RegistryService}, Secret{}
		}, "", ""},
		{"a proxy URL with a path", func(c *Config) { c.ProxyURL = NewURL("http://proxy:5091/v2") }, "proxy_url", "of the form"},
		{"the URL of a service that this process runs", func(c *Config) {
			c.ProxyURL, c.InternalKey = NewURL("http://proxy:5091"), Secret{}
		}, "", ""},
		{"an internal URL", func(c *Config) { c.InternalAt = NewURL("http://10.0.0.7:5091/") }, "", ""},
		{"an internal address for a URL", func(c *Config) { c.InternalAt = NewURL("10.0.0.7:5091") }, "internal_url", "of the form"},
		{"networks of upstreams with an empty one", func(c *Config) { c.UpstreamAllow = make([]Network, 1) }, "upstream_allow", "empty entry"},
		{"a short key", func(c *Config) { c.InternalKey = NewSecret("short") }, "internal_key", "at least 20"},
		{"a key for passwords", func(c *Config) { c.SecretKey = token }, "", ""},
		{"a short key for passwords", func(c *Config) { c.SecretKey = NewSecret("hunter2") }, "secret_key", "at least 20"},
		{"another key for passwords", func(c *Config) { c.SecretKey, c.OldSecretKey = NewSecret(strings.Repeat("n", 32)), token }, "", ""},
		{"no other key for passwords", func(c *Config) { c.SecretKey, c.OldSecretKey = token, token }, "old_secret_key", "the same"},
		{"an old key for passwords alone", func(c *Config) {
			c.SecretKey, c.OldSecretKey, c.Services = Secret{}, token, []string{ProxyService}
		}, "old_secret_key", "without secret_key"},
		{"an old key beside the one in the directory", func(c *Config) { c.Meta, c.SecretKey, c.OldSecretKey = URL{}, Secret{}, token }, "", ""},
		{"an upload URL with a path", func(c *Config) { c.UploadURL = NewURL("http://up:5091/v2") }, "upload_url", "of the form"},
		{"an audit log on standard output", func(c *Config) { c.AuditSink, c.AuditPulls = NewURL("stdout"), true }, "", ""},
		{"an audit log in a file", func(c *Config) { c.AuditSink = NewURL("file:/var/log/audit.jsonl") }, "", ""},
		{"an audit log in a file without a path", func(c *Config) { c.AuditSink = NewURL("file:audit.jsonl") }, "audit_sink", "whole path"},
		{"an audit log at a webhook", func(c *Config) { c.AuditSink, c.AuditSinkToken = NewURL("https://siem.example/berth"), token }, "", ""},
		{"an audit log at a relay", func(c *Config) { c.AuditSink = NewURL("http://127.0.0.1:8080/") }, "", ""},
		{"an audit log in clear", func(c *Config) { c.AuditSink = NewURL("http://siem.example/hunter2") }, "audit_sink", "in clear"},
		{"an audit log somewhere", func(c *Config) { c.AuditSink = NewURL("syslog://hunter2") }, "audit_sink", "is not stdout"},
		{"a token for a file", func(c *Config) { c.AuditSink, c.AuditSinkToken = NewURL("file:/a"), token }, "audit_sink_token", "webhook"},
		{"pulls for no audit log", func(c *Config) { c.AuditPulls = true }, "audit_pulls", "needs audit_sink"},
		{"an audit log of minutes", func(c *Config) { c.EventAge = time.Minute }, "event_age", "too short"},
		{"another database", func(c *Config) { c.Meta = NewURL("mysql://u:hunter2@db/berth") }, "meta", "postgres://"},
		{"another store", func(c *Config) { c.Blobs = NewURL("gs://bucket") }, "blobs", "s3://"},
		{"another cache", func(c *Config) { c.Redis = NewURL("localhost:6379") }, "redis", "redis://"},
		{"a printed URL", func(c *Config) { c.Meta = NewURL(c.Meta.String()) }, "meta", "printed"},
	} {
		err := cluster(c.edit).Check()
		var problems Problems
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &problems) || len(problems) != 1 || problems[0].Setting != c.want || !strings.Contains(problems[0].What, c.why)):
			t.Errorf("%s: got %v, want one problem with %s that says %q", c.name, err, c.want, c.why)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: a secret is in %v", c.name, err)
		}
	}
}

func TestB16_SecretsAreNeverPrinted(t *testing.T) {
	const canary = "canary-6f1d"
	type holder struct {
		Secret Secret
		URL    URL
	}
	h := holder{NewSecret(canary), NewURL("postgres://berth:" + canary + "@db/berth?sslkey=" + canary)}
	broken := holder{NewSecret(canary), NewURL("://" + canary)}
	var out bytes.Buffer
	text := slog.New(slog.NewTextHandler(&out, nil))
	lines := slog.New(slog.NewJSONHandler(&out, nil))
	for _, h := range []holder{h, broken} {
		fmt.Fprintf(&out, "%v %+v %#v %s %q %v %#v\n", h, h, h, h.Secret, h.URL, &h, h.URL)
		j, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		text.Info("m", "secret", h.Secret, "url", h.URL, "all", h)
		lines.Info("m", "secret", h.Secret, "url", h.URL, "all", h)
		l := Loaded{Config: Config{OperatorToken: h.Secret, Meta: h.URL, Redis: h.URL, Blobs: h.URL}}
		if err := l.Print(&out); err != nil {
			t.Fatal(err)
		}
		if err := l.Check(); err != nil {
			out.WriteString(err.Error())
		}
	}
	if strings.Contains(out.String(), canary) {
		t.Errorf("the secret is in\n%s", out.String())
	}
	if !strings.Contains(out.String(), Redacted) {
		t.Errorf("nothing says that something was left out:\n%s", out.String())
	}
}

func TestPrintIsReadBack(t *testing.T) {
	l, err := Load(Sources{Environ: []string{"BERTH_TRUSTED_PROXIES=10.0.0.0/8", "BERTH_GRACE=90m", "BERTH_MAX_STAGED_BYTES=1000", "BERTH_TLS_CERTS=/c"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := l.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"grace: 1h30m # environment\n", "delete_delay: 26h # default\n", "max_staged_bytes: 1000B # environment\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	again, err := Load(Sources{File: writeFile(t, "berth.yaml", out.String())})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.Config, again.Config) {
		t.Errorf("printed  %+v\nread back %+v", l.Config, again.Config)
	}
}

// FuzzLoadFile: no file makes the parser panic, and whatever it takes is
// printed in a form that it reads as the same configuration.
func FuzzLoadFile(f *testing.F) {
	for _, seed := range []string{
		"", "data_dir: x", "grace: 30", "grace: 30s\nupload_ttl: 1h", "trusted_proxies: [10.0.0.0/8]", "trusted_proxies: 10.0.0.0/8,::/0", "trusted_proxies: 0.0.0.0/0,",
		"max_staged_bytes: 1e3", "max_staged_bytes: 5 GiB", "a: &a [*a]", "? {}\n: x", "anonymous_push: yes", "1: 2", "data_dir: !!binary aGk=", "meta: \"\\0\"",
		"data_dir: x\ndata_dir: y", "base_domain: {a: {b: c}}", "- 1", "---\n---\n", "grace: 2001-01-01", "log_level: ~", "\xff\xfe",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := loader{Loaded: Loaded{Config: Default(), Origins: map[string]Origin{}}}
		l.yaml(text, "fuzz")
		if len(l.problems) > 0 {
			return
		}
		// These are redacted, so that they are not read back.
		l.OperatorToken, l.Meta, l.Blobs, l.Redis = Secret{}, URL{}, URL{}, URL{}
		var out bytes.Buffer
		if err := l.Print(&out); err != nil {
			t.Fatal(err)
		}
		again := loader{Loaded: Loaded{Config: Default(), Origins: map[string]Origin{}}}
		again.yaml(out.Bytes(), "printed")
		if len(again.problems) > 0 {
			t.Fatalf("%s\nis not read back: %v", out.String(), again.problems)
		}
		if fmt.Sprintf("%+v", l.Config) != fmt.Sprintf("%+v", again.Config) {
			t.Fatalf("taken   %+v\nprinted %+v", l.Config, again.Config)
		}
	})
}

// A number may come from the environment, where all is text.
func TestNumberFromTheEnvironment(t *testing.T) {
	var n int
	if err := decode("60", reflect.ValueOf(&n).Elem()); err != nil || n != 60 {
		t.Errorf("%d, %v", n, err)
	}
	if err := decode(61, reflect.ValueOf(&n).Elem()); err != nil || n != 61 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []any{"many", "6.5", true, "-"} {
		if err := decode(bad, reflect.ValueOf(&n).Elem()); err == nil || !strings.Contains(err.Error(), "is not a number") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
