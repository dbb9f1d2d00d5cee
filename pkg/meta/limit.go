package meta

import "github.com/berth-registry/berth/pkg/fault"

// Limits are how many resources of each kind a tenant may have. 0 means that of
// DefaultLimits, less than 0 any number.
type Limits struct {
	Registries        int
	Accounts          int // service accounts
	Users             int
	AccountKeys       int // of one account
	AccessRules       int
	TagRules          int // each push of a tag reads them
	PromotionGates    int
	PullRules         int // each pull reads them in memory
	Webhooks          int // each event may be sent to all
	RetentionPolicies int // each run reads them
	Prefetches        int
	PrincipalGroups   int
	Providers         int // of identities
	Domains           int
	Upstreams         int
	Groups            int
	MirrorHosts       int
	Events            int // of content in the audit log, and as many refusals; the oldest are removed
}

// DefaultLimits are far above what customers use, and low enough that the largest
// topology of a tenant is read in a few milliseconds.
var DefaultLimits = Limits{Registries: 100, Accounts: 1000, Users: 1000, AccountKeys: 100, AccessRules: 1000, TagRules: 100, PromotionGates: 100, PullRules: 100, Webhooks: 20, RetentionPolicies: 100, Prefetches: 20, PrincipalGroups: 1000, Providers: 20, Domains: 100, Upstreams: 100, Groups: 100, MirrorHosts: 100, Events: 1_000_000}

// AdministrationKept times Limits.Events administration events are kept. They are
// removed by age; this only bounds the disk. An administrator would need weeks to
// reach it, and pushes never do.
const AdministrationKept = 10

// WithDefaults replaces zero values.
func (l Limits) WithDefaults() Limits {
	for _, one := range []struct{ of, otherwise *int }{
		{&l.Registries, &DefaultLimits.Registries},
		{&l.Accounts, &DefaultLimits.Accounts},
		{&l.Users, &DefaultLimits.Users},
		{&l.AccountKeys, &DefaultLimits.AccountKeys},
		{&l.AccessRules, &DefaultLimits.AccessRules},
		{&l.TagRules, &DefaultLimits.TagRules},
		{&l.PromotionGates, &DefaultLimits.PromotionGates},
		{&l.PullRules, &DefaultLimits.PullRules},
		{&l.Webhooks, &DefaultLimits.Webhooks},
		{&l.RetentionPolicies, &DefaultLimits.RetentionPolicies},
		{&l.Prefetches, &DefaultLimits.Prefetches},
		{&l.PrincipalGroups, &DefaultLimits.PrincipalGroups},
		{&l.Providers, &DefaultLimits.Providers},
		{&l.Domains, &DefaultLimits.Domains},
		{&l.Upstreams, &DefaultLimits.Upstreams},
		{&l.Groups, &DefaultLimits.Groups},
		{&l.MirrorHosts, &DefaultLimits.MirrorHosts},
		{&l.Events, &DefaultLimits.Events},
	} {
		if *one.of == 0 {
			*one.of = *one.otherwise
		}
	}
	return l
}

// Limit is the limit of one kind of resource, with its names. Existing resources
// beyond it, from an older version, stay.
type Limit struct {
	Most    int
	Noun    string // "registries of the tenant"
	Setting string // that an operator raises
	Hint    string // what else counts; may be empty
}

// RegistryLimit is the limit of registries.
func (l Limits) RegistryLimit() Limit {
	return Limit{l.Registries, "registries of the tenant", "max_registries", "; deleted ones count until they are removed for good"}
}

// CacheLimit bounds the caches of upstreams, including those being removed: each
// change of an upstream's URL or credential creates one.
func (l Limits) CacheLimit() Limit {
	return Limit{4 * l.Upstreams, "caches of upstreams", "max_upstreams", "; given up ones count until the janitor has removed them, so try again later"}
}

// AccountLimit is the limit of service accounts.
func (l Limits) AccountLimit() Limit {
	return Limit{l.Accounts, "service accounts of the tenant", "max_accounts", ""}
}

// UserLimit is the limit of users.
func (l Limits) UserLimit() Limit {
	return Limit{l.Users, "users of the tenant", "max_users", ""}
}

// KeyLimit is the limit of the keys of one account.
func (l Limits) KeyLimit() Limit {
	return Limit{l.AccountKeys, "keys of the account", "max_account_keys", ""}
}

// TrustLimit is the limit of the trusts of one account.
func (l Limits) TrustLimit() Limit {
	return Limit{l.AccountKeys, "trusts of the account", "max_account_keys", ""}
}

// OperatorTokenLimit is the limit of the tokens of one operator.
func (l Limits) OperatorTokenLimit() Limit {
	return Limit{l.AccountKeys, "tokens of the operator", "max_account_keys", ""}
}

// AccessRuleLimit is the limit of access rules.
func (l Limits) AccessRuleLimit() Limit {
	return Limit{l.AccessRules, "access rules of the tenant", "max_access_rules", ""}
}

// TagRuleLimit is the limit of tag rules.
func (l Limits) TagRuleLimit() Limit {
	return Limit{l.TagRules, "tag rules of the tenant", "max_tag_rules", ""}
}

// PromotionGateLimit is the limit of promotion gates.
func (l Limits) PromotionGateLimit() Limit {
	return Limit{l.PromotionGates, "promotion gates of the tenant", "max_promotion_gates", ""}
}

// PullRuleLimit is the limit of pull rules.
func (l Limits) PullRuleLimit() Limit {
	return Limit{l.PullRules, "pull rules of the tenant", "max_pull_rules", ""}
}

// WebhookLimit is the limit of webhooks.
func (l Limits) WebhookLimit() Limit {
	return Limit{l.Webhooks, "webhooks of the tenant", "max_webhooks", ""}
}

// PrefetchLimit is the limit of prefetches.
func (l Limits) PrefetchLimit() Limit {
	return Limit{l.Prefetches, "prefetches of the tenant", "max_prefetches", ""}
}

// RetentionPolicyLimit is the limit of retention policies.
func (l Limits) RetentionPolicyLimit() Limit {
	return Limit{l.RetentionPolicies, "retention policies of the tenant", "max_retention_policies", ""}
}

// PrincipalGroupLimit is the limit of groups of accounts.
func (l Limits) PrincipalGroupLimit() Limit {
	return Limit{l.PrincipalGroups, "groups of the tenant", "max_principal_groups", ""}
}

// IdentityProviderLimit is the limit of identity providers.
func (l Limits) IdentityProviderLimit() Limit {
	return Limit{l.Providers, "identity providers of the tenant", "max_identity_providers", ""}
}

// DomainLimit is the limit of domains.
func (l Limits) DomainLimit() Limit {
	return Limit{l.Domains, "domains of the tenant", "max_domains", "; those of deleted registries count"}
}

// UpstreamLimit is the limit of upstreams.
func (l Limits) UpstreamLimit() Limit {
	return Limit{l.Upstreams, "upstreams of the tenant", "max_upstreams", ""}
}

// GroupLimit is the limit of upstream groups.
func (l Limits) GroupLimit() Limit {
	return Limit{l.Groups, "upstream groups of the tenant", "max_groups", ""}
}

// MirrorHostLimit is the limit of mirror hosts.
func (l Limits) MirrorHostLimit() Limit {
	return Limit{l.MirrorHosts, "mirror hosts of the tenant", "max_mirror_hosts", ""}
}

// Read is how many rows to count to find out whether there are too many.
func (l Limit) Read() int { return l.Most + 1 }

// Unlimited reports whether any number is allowed.
func (l Limit) Unlimited() bool { return l.Most < 0 }

// Check refuses the newest resource if n, which includes it, are too many.
func (l Limit) Check(n int) error {
	if l.Unlimited() || n <= l.Most {
		return nil
	}
	return fault.New(fault.Conflict, fault.LimitReached,
		"the %s are %d already, the most there may be%s; delete some, or ask the operator to raise the setting %s", l.Noun, l.Most, l.Hint, l.Setting)
}
