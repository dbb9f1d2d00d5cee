package boot

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestT32_ProxiesAreSettings that are read, checked, and printed without passwords.
func TestT32_ProxiesAreSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxies")
	const lines = "corp=http://bob:hunter2@proxy.example:3128?resolve=proxy\n\nacme@corp=https://proxy.example\nnone=direct\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(Sources{Environ: []string{
		"BERTH_UPSTREAM_PROXIES_FILE=" + file, "HTTPS_PROXY=upper.example:3128", "https_proxy=http://bob:hunter2@lower.example:3128", "NO_PROXY=.example.com,10.0.0.0/8",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Check(); err != nil {
		t.Error(err)
	}
	if got := loaded.UpstreamProxies.String(); got != "corp=http://bob:xxxxx@proxy.example:3128?resolve=proxy,acme@corp=https://proxy.example,none=direct" {
		t.Error(got)
	}
	if loaded.HTTPSProxy.Reveal() != "http://bob:hunter2@lower.example:3128" || loaded.NoProxy != ".example.com,10.0.0.0/8" || loaded.Origins["https_proxy"] != FromEnv {
		t.Errorf("%s, %s", loaded.HTTPSProxy, loaded.NoProxy)
	}
	if got := len(loaded.ProxyURLs()); got != 4 {
		t.Errorf("%d URLs of proxies", got)
	}
	var out bytes.Buffer
	if err := loaded.Print(&out); err != nil || strings.Contains(out.String(), "hunter2") {
		t.Errorf("%v, %s", err, out.String())
	}
	inline, err := Load(Sources{Environ: []string{"BERTH_UPSTREAM_PROXIES=corp=http://bob:hunter2@proxy.example:3128, none=direct"}})
	if err != nil || len(inline.UpstreamProxies) != 2 {
		t.Fatalf("%v, %v", inline.UpstreamProxies, err)
	}
	out.Reset()
	if err := inline.Print(&out); err != nil || strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "none=direct") {
		t.Errorf("%v, %s", err, out.String())
	}
}

func TestT32_WrongProxiesAreRefused(t *testing.T) {
	for env, want := range map[string]string{
		"BERTH_UPSTREAM_PROXIES=corp":                                          "is not of the form",
		"BERTH_UPSTREAM_PROXIES==http://p.example":                             "is not of the form",
		"BERTH_UPSTREAM_PROXIES=@corp=http://p.example":                        "is not of the form",
		"BERTH_UPSTREAM_PROXIES=Corp=http://p.example":                         "is not a name",
		"BERTH_UPSTREAM_PROXIES=corp=http://p.example,corp=direct":             "named twice",
		"BERTH_UPSTREAM_PROXIES=corp=socks5://p.example":                       "neither http nor https",
		"BERTH_UPSTREAM_PROXIES=corp=http://bob:hunter2@":                      "has no host",
		"BERTH_UPSTREAM_PROXIES=corp=http://p.example/path":                    "has a path",
		"BERTH_UPSTREAM_PROXIES=corp=http://p.example?resolve=maybe":           "has a query",
		"BERTH_UPSTREAM_PROXIES=corp=http://p.example?resolve=proxy&a=b":       "has a query",
		"BERTH_UPSTREAM_PROXIES=corp=http://bob:xxxxx@p.example":               "what was printed",
		"BERTH_UPSTREAM_PROXIES=corp=http://bob:hunter2@p.example:port":        "cannot be parsed",
		"HTTPS_PROXY=socks5://bob:hunter2@p.example":                           "https_proxy",
		"http_proxy=http://bob:hunter2@p.example/path":                         "http_proxy",
		"BERTH_UPSTREAM_DENY=*":                                                "upstream_deny",
		"BERTH_UPSTREAM_DENY=*example.com":                                     "upstream_deny",
		"BERTH_UPSTREAM_DENY=Example.com":                                      "upstream_deny",
		"BERTH_UPSTREAM_CA=/does/not/exist":                                    "upstream_ca",
		"BERTH_UPSTREAM_PROXIES=" + strings.Repeat("x", 64) + "=http://p.test": "is not a name",
	} {
		loaded, err := Load(Sources{Environ: []string{env}})
		if err == nil {
			err = loaded.Check()
		}
		if err == nil {
			if problems := loaded.CheckCertificates(); len(problems) > 0 {
				err = problems
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
}
