package boot

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Config is all settings. Each field is one setting: the
// setting tag is its key in the file; BERTH_ and the key in capitals its
// environment variable; the key with dashes its flag. Default returns the
// values that stand when nothing is set.
type Config struct {
	DataDir     string `setting:"data_dir" placeholder:"DIR" help:"Directory that holds everything the embedded registry keeps."`
	BaseDomain  string `setting:"base_domain" placeholder:"DOMAIN" help:"Domain under which tenants answer: acme.DOMAIN, dev.acme.DOMAIN."`
	HostPattern string `setting:"host_pattern" placeholder:"PATTERN" help:"Host of a registry other than main: {registry}.{tenant}.{base} or {registry}--{tenant}.{base}."`

	Meta      URL    `setting:"meta" placeholder:"URL" help:"Metadata database, postgres://user@host/database; empty is SQLite in the data directory."`
	MetaFile  string `setting:"meta_file" placeholder:"FILE" help:"File with the URL of meta, since it may hold a password."`
	Blobs     URL    `setting:"blobs" placeholder:"URL" help:"Blob store, s3://bucket?endpoint=http://host:9000&region=…&path_style=true, credentials from the usual AWS chain; empty is files in the data directory."`
	Redis     URL    `setting:"redis" placeholder:"URL" help:"Redis that saves nodes work, redis://host:6379/0. Answers are right without it; empty uses none."`
	RedisFile string `setting:"redis_file" placeholder:"FILE" help:"File with the URL of redis, since it may hold a password."`

	Services        []string `setting:"services" placeholder:"SERVICE" help:"What this process runs: registry, upload, token, admin, janitor, proxy, comma-separated; empty runs all. A part of them needs meta and blobs."`
	InternalKey     Secret   `setting:"internal_key" kong:"-"`
	InternalKeyFile string   `setting:"internal_key_file" placeholder:"FILE" help:"File with the key that split services, and nodes that share fetches, sign their calls with, the same in all."`
	UploadURL       URL      `setting:"upload_url" name:"upload-url" placeholder:"URL" help:"Internal listener of the upload service, for a process that does not run it and is not behind an edge that does this by path."`
	TokenURL        URL      `setting:"token_url" name:"token-url" placeholder:"URL" help:"Internal listener of the token service, likewise."`
	ProxyURL        URL      `setting:"proxy_url" name:"proxy-url" placeholder:"URL" help:"Internal listener of the proxy service, likewise, for a process that runs registry without it."`
	InternalAt      URL      `setting:"internal_url" name:"internal-url" placeholder:"URL" help:"Internal listener of this process as other nodes reach it; empty is internal_addr, with an address of this machine where that is 0.0.0.0, and none where it is a loopback address."`

	DataAddr      string `setting:"data_addr" placeholder:"ADDR" help:"Listener for clients: /v2/ and /token."`
	AdminAddr     string `setting:"admin_addr" placeholder:"ADDR" help:"Listener for the admin API over REST."`
	AdminGRPCAddr string `setting:"admin_grpc_addr" name:"admin-grpc-addr" placeholder:"ADDR" help:"Listener for the admin API over gRPC."`
	InternalAddr  string `setting:"internal_addr" placeholder:"ADDR" help:"Listener for calls of split services, and of nodes that share by redis what they fetch from upstreams; closed without internal_key."`
	OpsAddr       string `setting:"ops_addr" placeholder:"ADDR" help:"Listener for /metrics, /healthz and /readyz."`

	TLSCerts           string   `setting:"tls_certs" name:"tls-certs" placeholder:"DIR" help:"Directory of certificates and keys; set, the data listener speaks TLS."`
	AdminTLSCerts      string   `setting:"admin_tls_certs" name:"admin-tls-certs" placeholder:"DIR" help:"Directory of certificates and keys, as tls_certs has them; set, admin_addr and admin_grpc_addr speak TLS."`
	InternalTLSCerts   string   `setting:"internal_tls_certs" name:"internal-tls-certs" placeholder:"DIR" help:"Directory of certificates and keys for calls between processes of this deployment; set with internal_tls_ca, internal_addr speaks TLS and takes clients with a certificate only, and this process shows its own where it calls. They are for server and client authentication."`
	InternalTLSCA      string   `setting:"internal_tls_ca" name:"internal-tls-ca" placeholder:"FILE" help:"File with the PEM certificates of the authorities that sign those of internal_tls_certs in all processes, and nothing else."`
	InternalTLSName    string   `setting:"internal_tls_name" name:"internal-tls-name" placeholder:"NAME" help:"Name that the certificate of a called process must have; empty is the host of its URL. Set it where processes are called by addresses that their certificates do not have."`
	PlaintextListeners []string `setting:"plaintext_listeners" placeholder:"LISTENER" help:"Listeners that other machines may reach without TLS, admin and internal, comma-separated: for a private network only."`

	PublicScheme   string         `setting:"public_scheme" placeholder:"SCHEME" help:"Scheme clients use, http or https; empty is what the listener speaks. Set it behind a proxy that ends TLS."`
	TrustedProxies []netip.Prefix `setting:"trusted_proxies" placeholder:"CIDR" help:"Networks whose forwarded headers are believed, comma-separated."`
	CORSOrigins    []string       `setting:"cors_origins" name:"cors-origins" placeholder:"ORIGIN" help:"Origins of web pages that may use the registries, such as https://ui.example.com, comma-separated; empty allows none."`
	AdminHosts     []string       `setting:"admin_hosts" placeholder:"HOST" help:"Host names at which admin_addr and ops_addr answer, comma-separated, *.DOMAIN for all below one. Addresses, names without a dot or below base_domain, localhost, local, internal and svc need not be named."`
	LoginURL       string         `setting:"login_url" name:"login-url" placeholder:"URL" help:"URL of admin_addr as browsers reach it, such as https://berth.example.com, to which OpenID Connect issuers send them back; empty is the one that a browser asks, at the hosts of admin_hosts."`
	UpstreamAllow  []Network      `setting:"upstream_allow" placeholder:"NETWORK" help:"Networks that are not public but that upstreams may nevertheless be in, comma-separated: [TENANT@]NETWORK[:PORT,…], such as 10.0.0.0/8:443,5000, [fd00::/8]:443 or acme@10.1.2.0/24:443. Without ports all are meant; :* says so without a warning. Listeners and servers of this deployment are never."`
	UpstreamCA     string         `setting:"upstream_ca" name:"upstream-ca" placeholder:"FILE" help:"File with PEM certificates of authorities that upstreams and proxies may have certificates of, besides those that the system trusts. It is read again when it changes."`

	HTTPSProxy          URL      `setting:"https_proxy" name:"https-proxy" placeholder:"URL" help:"Forward proxy for upstreams that are reached by https and name no proxy of their own; else that of the variable HTTPS_PROXY. http or https, with a user and a password where it takes them. With ?resolve=proxy the proxy resolves names, without it Berth does."`
	HTTPProxy           URL      `setting:"http_proxy" name:"http-proxy" placeholder:"URL" help:"Likewise for upstreams that are reached by http; else that of the variable HTTP_PROXY. It must allow CONNECT to their ports."`
	NoProxy             string   `setting:"no_proxy" placeholder:"HOSTS" help:"Hosts that https_proxy and http_proxy are not for, comma-separated: names, with all below them, addresses and networks; else those of the variable NO_PROXY."`
	UpstreamProxies     Proxies  `setting:"upstream_proxies" placeholder:"PROXY" help:"Forward proxies that upstreams choose by name, comma-separated: [TENANT@]NAME=URL, such as corp=http://proxy.example:3128, or NAME=direct for none. URLs are those of https_proxy."`
	UpstreamProxiesFile string   `setting:"upstream_proxies_file" placeholder:"FILE" help:"File with the entries of upstream_proxies, one a line, since they may hold passwords."`
	UpstreamDeny        []string `setting:"upstream_deny" placeholder:"HOST" help:"Names that no proxy is asked to resolve, comma-separated, *.DOMAIN for all below one. Addresses, localhost and names without a dot never are."`

	TrustedRoot string `setting:"trusted_root" placeholder:"FILE" help:"The trusted_root.json of Sigstore that signatures by identities are verified with where a promotion gate or pull rule has none of its own; for all processes. It is read again when it changes, and no server is asked."`

	CredentialHelpers string `setting:"credential_helpers" placeholder:"FILE" help:"YAML file with the credential helpers that upstreams of tenants may name: roles of AWS, identities of Google and Azure, token exchanges, programs and files. Read at the start; for the processes that run proxy or admin."`

	OperatorToken     Secret        `setting:"operator_token" kong:"-"` // no flag: command lines are public on a machine
	OperatorTokenFile string        `setting:"operator_token_file" placeholder:"FILE" help:"File with the admin API's operator token; empty makes one in the data directory."`
	SecretKey         Secret        `setting:"secret_key" kong:"-"`
	SecretKeyFile     string        `setting:"secret_key_file" placeholder:"FILE" help:"File with the key that passwords of upstreams and the keys that sign tokens are sealed with; empty makes one in the data directory where that holds the data. On a cluster token needs it, and without it upstreams have no passwords."`
	OldSecretKey      Secret        `setting:"old_secret_key" kong:"-"`
	OldSecretKeyFile  string        `setting:"old_secret_key_file" placeholder:"FILE" help:"File with the key before that one, while it is exchanged: what was sealed with it is sealed with the new one from the next start on, and keys that sign tokens are replaced."`
	SigningKeyLife    time.Duration `setting:"signing_key_life" placeholder:"TIME" help:"How long a key signs tokens until the next one is made. What it signed stays valid."`
	SeedDefault       bool          `setting:"seed_default" help:"Serve the tenant default to all clients that reach the data port, at the hosts localhost and 127.0.0.1, although base_domain is not localhost or data_addr not loopback: for a container whose port is published to this machine only."`
	AnonymousPush     bool          `setting:"anonymous_push" help:"Allow anonymous pushes to the tenant default, where seed_default serves it."`
	Seed              string        `setting:"seed" placeholder:"FILE" help:"YAML file of tenants and what they own, applied at every start."`

	AuditSink          URL    `setting:"audit_sink" placeholder:"WHERE" help:"Where the audit log is sent besides, as JSON lines: stdout, file:/path, or the https URL of a webhook; empty sends it nowhere. Set it in all processes."`
	AuditSinkToken     Secret `setting:"audit_sink_token" kong:"-"`
	AuditSinkTokenFile string `setting:"audit_sink_token_file" placeholder:"FILE" help:"File with the bearer token that requests of the webhook have."`
	AuditPulls         bool   `setting:"audit_pulls" help:"Send pulls to audit_sink, too: who, which digest, from where, by which client. They are not kept anywhere else."`

	AcceptRestored bool `setting:"accept_restored" help:"Accept a database that is behind its blob store, such as one restored from a backup. For one start."`
	AcceptStore    bool `setting:"accept_store" help:"Go on with a blob store that is not known to be this database's, and make it that. For one start."`
	CondemnUnknown bool `setting:"condemn_unknown" help:"Let the janitor remove stored objects that the database does not know, however many there are. For one start."`

	OTELEndpoint string `setting:"otel_endpoint" name:"otel-endpoint" placeholder:"URL" help:"OTLP gRPC receiver for traces, such as http://127.0.0.1:4317; empty sends none."`
	LogLevel     string `setting:"log_level" placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat    string `setting:"log_format" placeholder:"FORMAT" help:"text or json; empty is text on a terminal, else json."`

	UploadTTL            time.Duration `setting:"upload_ttl" name:"upload-ttl" placeholder:"TIME" help:"How long an upload may be idle before it is removed."`
	MaxStagedBytes       ByteSize      `setting:"max_staged_bytes" placeholder:"SIZE" help:"Bytes a tenant may have in unfinished uploads."`
	TenantRequests       int           `setting:"tenant_requests" placeholder:"NUMBER" help:"Requests a second to the registries of a tenant, in all processes together, unless the tenant's rate_limits say otherwise; 0 is any number, as in the next five."`
	TenantEgress         ByteSize      `setting:"tenant_egress" placeholder:"SIZE" help:"Bytes a second that the registries of a tenant send."`
	TenantUploads        int           `setting:"tenant_uploads" placeholder:"NUMBER" help:"Bodies of blobs that the registries of a tenant receive at once."`
	CallerRequests       int           `setting:"caller_requests" placeholder:"NUMBER" help:"Requests a second of each caller: an account, or an address without a credential."`
	CallerEgress         ByteSize      `setting:"caller_egress" placeholder:"SIZE" help:"Bytes a second that are sent to each caller."`
	CallerUploads        int           `setting:"caller_uploads" placeholder:"NUMBER" help:"Bodies of blobs that are received from each caller at once."`
	MaxRegistries        int           `setting:"max_registries" placeholder:"NUMBER" help:"Registries that a tenant may have, deleted ones that are not removed yet among them; -1 is any number."`
	MaxAccounts          int           `setting:"max_accounts" placeholder:"NUMBER" help:"Service accounts that a tenant may have; -1 is any number."`
	MaxAccountKeys       int           `setting:"max_account_keys" placeholder:"NUMBER" help:"Keys of a service account, access tokens of a user and tokens of an operator, of each; -1 is any number."`
	MaxUsers             int           `setting:"max_users" placeholder:"NUMBER" help:"Users that a tenant may have; -1 is any number."`
	MaxAccessRules       int           `setting:"max_access_rules" placeholder:"NUMBER" help:"Access rules that a tenant may have; -1 is any number."`
	MaxPromotionGates    int           `setting:"max_promotion_gates" placeholder:"NUMBER" help:"Promotion gates that a tenant may have; -1 is any number."`
	MaxPullRules         int           `setting:"max_pull_rules" placeholder:"NUMBER" help:"Pull rules that a tenant may have; -1 is any number."`
	MaxWebhooks          int           `setting:"max_webhooks" placeholder:"NUMBER" help:"Webhooks that a tenant may have; -1 is any number."`
	MaxTagRules          int           `setting:"max_tag_rules" placeholder:"NUMBER" help:"Tag rules that a tenant may have; -1 is any number. Each push of a tag reads them."`
	MaxPrefetches        int           `setting:"max_prefetches" placeholder:"NUMBER" help:"Prefetches that a tenant may have; -1 is any number."`
	MaxRetentionPolicies int           `setting:"max_retention_policies" placeholder:"NUMBER" help:"Retention policies that a tenant may have; -1 is any number."`
	MaxPrincipalGroups   int           `setting:"max_principal_groups" placeholder:"NUMBER" help:"Groups of accounts that a tenant may have; -1 is any number."`
	MaxIdentityProviders int           `setting:"max_identity_providers" placeholder:"NUMBER" help:"Identity providers that a tenant may have; -1 is any number."`
	MaxDomains           int           `setting:"max_domains" placeholder:"NUMBER" help:"Domains that a tenant may have; -1 is any number."`
	MaxUpstreams         int           `setting:"max_upstreams" placeholder:"NUMBER" help:"Upstreams that a tenant may have; -1 is any number."`
	MaxGroups            int           `setting:"max_groups" placeholder:"NUMBER" help:"Upstream groups that a tenant may have; -1 is any number."`
	MaxMirrorHosts       int           `setting:"max_mirror_hosts" placeholder:"NUMBER" help:"Mirror hosts that a tenant may have; -1 is any number."`
	MaxEvents            int           `setting:"max_events" placeholder:"NUMBER" help:"Events of pushes, pulls and deletions in a tenant that the audit log keeps, the newest; as many of refused logins and calls, and ten times as many of administration, apart; -1 is any number."`
	EventAge             time.Duration `setting:"event_age" placeholder:"TIME" help:"How long the audit log keeps events; 0s keeps them for good."`
	MinFree              ByteSize      `setting:"min_free" placeholder:"SIZE" help:"What uploads leave free of the disk of data_dir, so that the database can still record deletions; 0 is 1GiB, or 5 % of a small disk."`
	CacheMax             ByteSize      `setting:"cache_max" placeholder:"SIZE" help:"Most that the cached content of all tenants may take of the blob store; above it, what was pulled least recently is evicted, first of the tenant with the most. 0 is seven eighths of what pushes leave of the disk of data_dir, and no bound in a bucket."`
	RetentionRate        int           `setting:"retention_rate" placeholder:"NUMBER" help:"Tags and manifests a second that a janitor deletes for retention policies; 0 runs no policies in this process."`
	ScrubRate            ByteSize      `setting:"scrub_rate" placeholder:"SIZE" help:"Bytes a second that the scrub reads of the blob store, to compare them with their digests; 0 reads none and looks only whether all objects exist."`
	ScrubInterval        time.Duration `setting:"scrub_interval" placeholder:"TIME" help:"From the end of a scrub to the next one; 0s leaves each to the operator."`
	VerifyPulls          bool          `setting:"verify_pulls" help:"Compare every blob with its digest while it is pulled, so that damage that no scrub has found yet ends the connection. It takes processor time, and no range of a blob is served, nor a redirect to the blob store."`
	Grace                time.Duration `setting:"grace" placeholder:"TIME" help:"How long a pushed blob is kept for the manifest that will name it: one hour more than the longest push."`
	DeleteDelay          time.Duration `setting:"delete_delay" placeholder:"TIME" help:"How long bytes are kept after their removal: a backup of the metadata that is younger can be restored."`
	NameQuarantine       time.Duration `setting:"name_quarantine" placeholder:"TIME" help:"How long the name of a deleted tenant stays reserved."`
	UndeleteWindow       time.Duration `setting:"undelete_window" placeholder:"TIME" help:"How long a deleted tenant, registry or repository can be restored, and a deleted manifest stays in the trash; 0s removes its content at once."`
	TagHistory           time.Duration `setting:"tag_history" placeholder:"TIME" help:"How long the history of tags is kept: what they pointed to, and who moved them."`
	TransferPause        time.Duration `setting:"transfer_pause" placeholder:"TIME" help:"How long a client may pause within an upload that holds bytes, or a blob that it reads."`
	PausedTransfers      int           `setting:"paused_transfers" placeholder:"NUMBER" help:"How many transfers of a tenant may pause at once in a process; above that, those that paused longest end."`
	MaxConnections       int           `setting:"max_connections" placeholder:"NUMBER" help:"How many connections data_addr and internal_addr may have at once; 0 is half of the file descriptors that are left after 256, at most 16384."`
	ShutdownTimeout      time.Duration `setting:"shutdown_timeout" placeholder:"TIME" help:"How long running requests may take to finish at a stop."`
}

// Default returns the configuration of a first start: embedded, on loopback.
func Default() Config {
	return Config{
		DataDir:              "./berth-data",
		BaseDomain:           "localhost",
		HostPattern:          tenant.DotPattern,
		DataAddr:             "127.0.0.1:5000",
		AdminAddr:            "127.0.0.1:5080",
		AdminGRPCAddr:        "127.0.0.1:5081",
		InternalAddr:         "127.0.0.1:5091",
		OpsAddr:              "127.0.0.1:5090",
		UpstreamDeny:         privateNames(),
		LogLevel:             "info",
		SigningKeyLife:       30 * 24 * time.Hour,
		UploadTTL:            24 * time.Hour,
		MaxStagedBytes:       256 << 30,
		MaxRegistries:        100,
		MaxAccounts:          1000,
		MaxAccountKeys:       100,
		MaxUsers:             1000,
		MaxAccessRules:       1000,
		MaxPromotionGates:    100,
		MaxPullRules:         100,
		MaxWebhooks:          20,
		MaxTagRules:          100,
		MaxPrefetches:        20,
		MaxRetentionPolicies: 100,
		MaxPrincipalGroups:   1000,
		MaxIdentityProviders: 20,
		MaxDomains:           100,
		MaxUpstreams:         100,
		MaxGroups:            100,
		MaxMirrorHosts:       100,
		MaxEvents:            1_000_000,
		EventAge:             9600 * time.Hour,
		RetentionRate:        20,
		ScrubRate:            16 << 20,
		ScrubInterval:        720 * time.Hour,
		Grace:                25 * time.Hour,
		DeleteDelay:          26 * time.Hour,
		NameQuarantine:       720 * time.Hour,
		UndeleteWindow:       24 * time.Hour,
		TagHistory:           90 * 24 * time.Hour,
		TransferPause:        5 * time.Minute,
		PausedTransfers:      64,
		ShutdownTimeout:      30 * time.Second,
	}
}

// privateNames are domains that belong to private networks, and those whose names lead
// to the address that they contain.
func privateNames() []string {
	return []string{
		"*.local", "*.localdomain", "*.internal", "*.intranet", "*.private", "*.corp", "*.home", "*.lan", "*.home.arpa", "*.svc", "*.consul",
		"*.nip.io", "*.sslip.io", "*.xip.io", "*.traefik.me", "localtest.me", "*.localtest.me", "lvh.me", "*.lvh.me",
	}
}

// Scheme is the scheme clients use to reach the data listener.
func (c Config) Scheme() string {
	switch {
	case c.PublicScheme != "":
		return c.PublicScheme
	case c.TLSCerts != "":
		return "https"
	default:
		return "http"
	}
}

// ByteSize is a number of bytes that is written with a unit: 64MiB, 2GB.
type ByteSize int64

// String gives the number of bytes, with a binary unit where that is exact.
func (b ByteSize) String() string {
	for _, u := range []struct {
		size ByteSize
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if b != 0 && b%u.size == 0 {
			return fmt.Sprintf("%d%s", b/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", b)
}

// MarshalText is String.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads a number with an optional unit; without one it is bytes.
func (b *ByteSize) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<62 {
		return errNotSize
	}
	*b = ByteSize(n)
	return nil
}
