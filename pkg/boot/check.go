package boot

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Check finds invalid values. The error is Problems. It checks that named files
// exist, but does not read them.
func (c Config) Check() error {
	var p Problems
	c.checkStores(&p)
	c.checkServices(&p)
	c.checkNames(&p)
	c.checkListeners(&p)
	c.checkEgress(&p)
	c.checkFiles(&p)
	c.checkTimes(&p)
	c.checkLogs(&p)
	c.checkAuditSink(&p)
	return p.orNil()
}

func (c Config) checkNames(p *Problems) {
	if host, err := tenant.NormalizeHost(c.BaseDomain); err != nil || host != c.BaseDomain {
		p.add("base_domain", "%q is not a domain in lower case without port, such as registry.example.com", c.BaseDomain)
	}
	if c.HostPattern != tenant.DotPattern && c.HostPattern != tenant.DashPattern {
		p.add("host_pattern", "%q is neither %s nor %s", c.HostPattern, tenant.DotPattern, tenant.DashPattern)
	}
	if s := c.PublicScheme; s != "" && s != "http" && s != "https" {
		p.add("public_scheme", "%q is neither http nor https", s)
	}
	checkSecret(p, "operator_token", c.OperatorToken)
	checkSecret(p, "secret_key", c.SecretKey)
	checkSecret(p, "old_secret_key", c.OldSecretKey)
	switch {
	case c.OldSecretKey.IsZero():
	case c.SecretKey.IsZero() && !c.Embedded():
		p.add("old_secret_key", "is set without secret_key; set that to the new key")
	case c.SecretKey.Reveal() == c.OldSecretKey.Reveal():
		p.add("old_secret_key", "is the same as secret_key; set that to another key, or unset this one")
	}
}

func (c Config) checkListeners(p *Problems) {
	holder := map[string]string{}
	for _, l := range []struct{ key, addr string }{
		{"data_addr", c.DataAddr},
		{"admin_addr", c.AdminAddr},
		{"admin_grpc_addr", c.AdminGRPCAddr},
		{"internal_addr", c.InternalAddr},
		{"ops_addr", c.OpsAddr},
	} {
		port, err := portOf(l.addr)
		if err != nil {
			p.add(l.key, "%s", err)
			continue
		}
		if other, taken := holder[l.addr]; taken && port != 0 {
			p.add(l.key, "%s is the address of %s already; every listener needs its own", l.addr, other)
		}
		holder[l.addr] = l.key
	}
	c.checkPlaintext(p)
	c.checkPages(p)
	checkNetworks(p, "trusted_proxies", c.TrustedProxies)
	for _, n := range c.UpstreamAllow {
		if !n.Prefix.IsValid() {
			p.add("upstream_allow", "holds an empty entry; every entry is a network such as 10.0.0.0/8:443,5000")
		}
	}
	if e := c.OTELEndpoint; e != "" {
		if u, err := url.Parse(e); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			p.add("otel_endpoint", "%q is not of the form http://host:4317", NewURL(e).String())
		}
	}
}

func checkNetworks(p *Problems, key string, networks []netip.Prefix) {
	for _, network := range networks {
		if !network.IsValid() {
			p.add(key, "holds an empty entry; every entry is a network such as 10.0.0.0/8")
		}
	}
}

func portOf(addr string) (uint64, error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("%q is not of the form host:port, such as 127.0.0.1:5000 or :5000", addr)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q has no port between 0 and 65535", addr)
	}
	return port, nil
}

func (c Config) checkFiles(p *Problems) {
	for _, certs := range c.certificates() {
		if info, err := os.Stat(certs.dir); err != nil {
			p.add(certs.setting, "%s", fileProblem(certs.dir, err))
		} else if !info.IsDir() {
			p.add(certs.setting, "%s is not a directory; name the one that holds the certificates and keys", certs.dir)
		}
	}
	checkFile(p, "seed", c.Seed, "YAML")
	checkFile(p, "credential_helpers", c.CredentialHelpers, "YAML")
	checkFile(p, settingTrustedRoot, c.TrustedRoot, "JSON")
}

// checkFile checks that the file exists, unless path is empty.
func checkFile(p *Problems, setting, path, kind string) {
	if path == "" {
		return
	}
	if info, err := os.Stat(path); err != nil {
		p.add(setting, "%s", fileProblem(path, err))
	} else if info.IsDir() {
		p.add(setting, "%s is a directory; name a %s file", path, kind)
	}
}

// CheckCertificates reads the certificates, as a start does.
func (c Config) CheckCertificates() Problems {
	var p Problems
	for _, certs := range c.certificates() {
		if _, err := readCerts(certs.dir, nil); err != nil {
			for line := range strings.Lines(err.Error()) {
				p.add(certs.setting, "%s", strings.TrimSpace(line))
			}
		}
	}
	if c.UpstreamCA != "" {
		if _, err := readAuthorities(c.UpstreamCA); err != nil {
			p.add("upstream_ca", "%s", err)
		}
	}
	if c.InternalTLSCA != "" {
		if _, err := readAuthorities(c.InternalTLSCA); err != nil {
			p.add(settingInternalCA, "%s", err)
		}
	}
	return p
}

// certificateDir is a directory of certificates and the setting that names it.
type certificateDir struct{ setting, dir string }

// certificates lists the directories that are named.
func (c Config) certificates() []certificateDir {
	var named []certificateDir
	for _, d := range []certificateDir{{settingDataCerts, c.TLSCerts}, {settingAdminCerts, c.AdminTLSCerts}, {settingInternalCerts, c.InternalTLSCerts}} {
		if d.dir != "" {
			named = append(named, d)
		}
	}
	return named
}

// MinDeleteDelay is the shortest delete_delay: transfers and redirects that are
// in flight when a blob is deleted end before its bytes do (contract row F1).
const MinDeleteDelay = time.Hour

// minEventAge is far above the time in which a request is repeated: its event keeps it
// from taking effect twice.
const minEventAge = 6 * time.Hour

// MinSigningKeyLife is far above the time until all processes know a new key.
const MinSigningKeyLife = time.Hour

// maxTransferPause is far below delete_delay, so that a blob being read is not
// deleted.
const maxTransferPause = MinDeleteDelay / 2

// maxLimit is the maximum of any limit of a tenant.
const maxLimit = 1_000_000_000

func (c Config) checkTimes(p *Problems) {
	for _, t := range []struct {
		key   string
		value time.Duration
	}{{"upload_ttl", c.UploadTTL}, {"grace", c.Grace}, {"delete_delay", c.DeleteDelay}, {"transfer_pause", c.TransferPause}, {"shutdown_timeout", c.ShutdownTimeout}} {
		if t.value <= 0 {
			p.add(t.key, "%s is not a positive time, such as %s", t.value, "30s")
		}
	}
	if c.DeleteDelay > 0 && c.DeleteDelay < MinDeleteDelay {
		p.add("delete_delay", "%s is too short for transfers that are in flight; take %s or more", c.DeleteDelay, MinDeleteDelay)
	}
	if c.TransferPause > maxTransferPause {
		p.add("transfer_pause", "%s is longer than %s, and connections are few", c.TransferPause, maxTransferPause)
	}
	if c.PausedTransfers <= 0 {
		p.add("paused_transfers", "%d lets no transfer stand still; name a number such as 64", c.PausedTransfers)
	}
	if c.MaxConnections != 0 && c.MaxConnections < minConnections {
		p.add("max_connections", "%d is too few for a registry; name %d or more, or 0 to derive it from the limit of file descriptors", c.MaxConnections, minConnections)
	}
	if c.SigningKeyLife < MinSigningKeyLife {
		p.add("signing_key_life", "%s is too short; take %s or more, such as 720h", c.SigningKeyLife, shortDuration(MinSigningKeyLife))
	}
	if c.NameQuarantine < 0 {
		p.add("name_quarantine", "%s is negative; 0s frees names at once", c.NameQuarantine)
	}
	if c.TagHistory <= 0 {
		p.add("tag_history", "%s is not a time; 2160h keeps the history of tags for 90 days", c.TagHistory)
	}
	if c.UndeleteWindow < 0 {
		p.add("undelete_window", "%s is negative; 0s removes what is deleted at once", c.UndeleteWindow)
	}
	if c.CacheMax < 0 {
		p.add("cache_max", "%s is negative; 0 is a share of the disk", c.CacheMax)
	}
	if c.MinFree < 0 {
		p.add("min_free", "%s is negative; 0 is 1GiB, or 5 %% of a small disk", c.MinFree)
	}
	for _, l := range []struct {
		key  string
		most int
	}{
		{"max_registries", c.MaxRegistries},
		{"max_accounts", c.MaxAccounts},
		{"max_account_keys", c.MaxAccountKeys},
		{"max_users", c.MaxUsers},
		{"max_access_rules", c.MaxAccessRules},
		{"max_promotion_gates", c.MaxPromotionGates},
		{"max_pull_rules", c.MaxPullRules},
		{"max_webhooks", c.MaxWebhooks},
		{"max_tag_rules", c.MaxTagRules},
		{"max_prefetches", c.MaxPrefetches},
		{"max_retention_policies", c.MaxRetentionPolicies},
		{"max_principal_groups", c.MaxPrincipalGroups},
		{"max_identity_providers", c.MaxIdentityProviders},
		{"max_domains", c.MaxDomains},
		{"max_upstreams", c.MaxUpstreams},
		{"max_groups", c.MaxGroups},
		{"max_mirror_hosts", c.MaxMirrorHosts},
		{"max_events", c.MaxEvents},
	} {
		if l.most < -1 || l.most == 0 || l.most > maxLimit {
			p.add(l.key, "%d is not a number from 1 to %d, nor -1 for any number", l.most, maxLimit)
		}
	}
	c.checkRates(p)
	switch {
	case c.RetentionRate < 0:
		p.add("retention_rate", "%d is negative; 0 runs no policies in this process", c.RetentionRate)
	case c.ScrubRate < 0:
		p.add("scrub_rate", "%s is negative; 0 reads no bytes", c.ScrubRate)
	case c.ScrubInterval < 0:
		p.add("scrub_interval", "%s is negative; 0s leaves each scrub to the operator", c.ScrubInterval)
	case c.EventAge < 0:
		p.add("event_age", "%s is negative; 0s keeps events for good", c.EventAge)
	case c.EventAge > 0 && c.EventAge < minEventAge:
		p.add("event_age", "%s is too short: by its event a repeated request is known; take %s or more", c.EventAge, shortDuration(minEventAge))
	}
	if c.MaxStagedBytes <= 0 {
		p.add("max_staged_bytes", "%s allows no push; name a size such as 256GiB", c.MaxStagedBytes)
	}
}

func (c Config) checkRates(p *Problems) {
	for _, l := range []struct {
		key  string
		most int
	}{
		{"tenant_requests", c.TenantRequests},
		{"tenant_uploads", c.TenantUploads},
		{"caller_requests", c.CallerRequests},
		{"caller_uploads", c.CallerUploads},
	} {
		if l.most < 0 || l.most > maxLimit {
			p.add(l.key, "%d is not a number from 0 to %d; 0 is any number", l.most, maxLimit)
		}
	}
	for _, l := range []struct {
		key  string
		most ByteSize
	}{{"tenant_egress", c.TenantEgress}, {"caller_egress", c.CallerEgress}} {
		if l.most != 0 && l.most < tenant.MinEgress {
			p.add(l.key, "%s a second is too little, since clients give up what comes more slowly; take 1MiB or more, or 0 for no bound", l.most)
		}
	}
}

func (c Config) checkLogs(p *Problems) {
	if _, err := parseLevel(c.LogLevel); err != nil {
		p.add("log_level", "%s", err)
	}
	if f := c.LogFormat; f != "" && f != "text" && f != "json" {
		p.add("log_format", "%q is neither text nor json", f)
	}
}
