package admin

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

// matrixPrincipal is a kind of caller.
type matrixPrincipal struct {
	authorization []string // headers
	cookie        string   // of a session, which counts over REST alone
	known         bool     // else its credential is refused
	operator      bool
	own           bool // of the tenant t-there, that of most rows
	role          access.Role
	rule          string // which of matrixRules names it
	account       string // its name, if rows are about it
}

func (p matrixPrincipal) secret() string { return strings.TrimPrefix(p.authorization[0], "Bearer ") }

// matrixRules are access rules of which each gives one account something.
var matrixRules = map[string]string{
	"registry admin":   `"registries": ["main", "r-*"], "repositories": ["**"], "actions": ["ADMIN"]`,
	"repository admin": `"registries": ["main"], "repositories": ["team/**"], "actions": ["ADMIN"]`,
	"undeleter":        `"registries": ["main"], "repositories": ["team/**"], "actions": ["UNDELETE"]`,
	"puller":           `"registries": ["main"], "repositories": ["team/**"], "actions": ["PULL"]`,
}

// principals makes one of each kind.
func principals(t *testing.T, a *api) map[string]matrixPrincipal {
	t.Helper()
	all := map[string]matrixPrincipal{
		"operator":       {authorization: []string{"Bearer " + operatorToken}, known: true, operator: true},
		"wrong token":    {authorization: []string{"Bearer berth_" + strings.Repeat("A", 43)}},
		"anonymous":      {},
		"basic":          {authorization: []string{"Basic b3BlcmF0b3I6b3BlcmF0b3ItdG9rZW4tb2YtdGhlLXRlc3Rz"}},
		"operator twice": {authorization: []string{"Bearer " + operatorToken, "Bearer " + operatorToken}},
		"garbage":        {authorization: []string{"Bearer %00'--{}"}},
	}
	operatorPrincipals(a, all)
	for _, slug := range []string{"t-there", "t-other", "t-stopped"} {
		a.call(200, "POST", "/v1/tenants?tenant_id="+slug, "")
	}
	for _, slug := range []string{"t-there", "t-other"} {
		for _, kind := range []access.Kind{access.ServiceKind, access.UserKind} {
			tenantPrincipals(a, all, slug, kind)
		}
	}
	all["suspended one's admin"] = matrixPrincipal{authorization: []string{"Bearer " + a.account("t-stopped", "admin", "ADMIN")}}
	a.call(200, "POST", "/v1/tenants/t-stopped:suspend", "")
	all["own disabled admin"] = matrixPrincipal{authorization: []string{"Bearer " + a.account("t-there", "own-disabled", "ADMIN")}}
	a.call(200, "PATCH", "/v1/tenants/t-there/serviceAccounts/own-disabled", `{"disabled": true}`)
	all["own deleted admin"] = matrixPrincipal{authorization: []string{"Bearer " + a.account("t-there", "own-deleted", "ADMIN")}}
	a.call(200, "DELETE", "/v1/tenants/t-there/serviceAccounts/own-deleted", "")
	sessionPrincipals(a, all)
	all["own admin, expired key"] = matrixPrincipal{authorization: []string{"Bearer " + a.accountOf("t-there", access.ServiceKind, "own-expired", access.Admin, time.Now().Add(-time.Hour))}}
	return all
}

// operatorPrincipals are operators with names, of each kind.
func operatorPrincipals(a *api, all map[string]matrixPrincipal) {
	bearer := func(slug string, ttl time.Duration) []string { return []string{"Bearer " + a.operator(slug, ttl)} }
	all["named operator"] = matrixPrincipal{authorization: bearer("alice", time.Hour), known: true, operator: true}
	all["disabled operator"] = matrixPrincipal{authorization: bearer("disabled", time.Hour)}
	a.call(200, "PATCH", "/v1/operators/disabled", `{"disabled": true}`)
	all["deleted operator"] = matrixPrincipal{authorization: bearer("deleted", time.Hour)}
	a.call(200, "DELETE", "/v1/operators/deleted", "")
	all["operator, expired token"] = matrixPrincipal{authorization: bearer("expired", -time.Hour)}
	all["operator, deleted token"] = matrixPrincipal{authorization: bearer("ended", time.Hour)}
	a.call(200, "DELETE", "/v1/operators/ended/tokens/k-there", "")
}

// sessionPrincipals are sessions of some of the others, and of ended ones.
func sessionPrincipals(a *api, all map[string]matrixPrincipal) {
	for _, of := range []string{
		"operator", "named operator", "own user, admin", "own user, member", "own user, registry admin", "own auditor", "another's user, admin",
	} {
		p := all[of]
		p.cookie, p.authorization = a.session(`{"token": "`+p.secret()+`"}`), nil
		all["session of "+of] = p
	}
	ended := a.session(`{"token": "` + operatorToken + `"}`)
	a.call(200, "DELETE", "/v1/sessions", "") // of the operator token
	p := all["operator"]
	p.cookie, p.authorization = a.session(`{"token": "`+operatorToken+`"}`), nil
	all["session of operator"] = p
	all["ended session"] = matrixPrincipal{cookie: ended}
	all["session by TLS, in the clear"] = matrixPrincipal{cookie: secureCookie + strings.TrimPrefix(p.cookie, loopbackCookie)}
	all["session twice"] = matrixPrincipal{cookie: p.cookie + "; " + p.cookie}
	all["session, wrong secret"] = matrixPrincipal{cookie: loopbackCookie + "=" + newSecret(operatorSessionPrefix)}
	all["session and wrong token"] = matrixPrincipal{cookie: p.cookie, authorization: []string{"Bearer wrong"}}
}

// session logs in, and returns the header Cookie of what the browser sends from then on.
func (a *api) session(body string) string {
	a.t.Helper()
	resp, text := a.send("", "POST", "/v1/sessions", body)
	if cookies := resp.Cookies(); resp.StatusCode == 200 && len(cookies) == 1 {
		return cookies[0].Name + "=" + cookies[0].Value
	}
	a.t.Fatalf("%s: %s", resp.Status, text)
	return ""
}

// operator makes an operator with a token, and returns its secret.
func (a *api) operator(slug string, ttl time.Duration) string {
	a.t.Helper()
	a.call(200, "POST", "/v1/operators?operator_id="+slug, "")
	secret := newSecret(operatorPrefix)
	k := meta.AccountKey{Name: "k-there", Hash: sha256.Sum256([]byte(secret)), ExpiresAt: time.Now().Add(ttl)}
	if _, err := a.store.CreateOperatorToken(a.t.Context(), meta.Cause{Op: uuid.New(), Actor: "operator"}, slug, k); err != nil {
		a.t.Fatal(err)
	}
	return secret
}

// tenantPrincipals are accounts of one kind, with each role and each of matrixRules.
func tenantPrincipals(a *api, all map[string]matrixPrincipal, slug string, kind access.Kind) {
	whose := map[string]string{"t-there": "own ", "t-other": "another's "}[slug]
	if kind == access.UserKind {
		whose += "user, "
	}
	add := func(name string, role access.Role, rule string) string {
		id := strings.ReplaceAll(string(kind)+"-"+name, " ", "-")
		all[whose+name] = matrixPrincipal{
			authorization: []string{"Bearer " + a.accountOf(slug, kind, id, role, time.Time{})},
			known:         true, own: slug == "t-there", role: role, rule: rule,
		}
		return id
	}
	for _, role := range []access.Role{access.Member, access.Auditor, access.Reader, access.Writer, access.Admin} {
		add(strings.ToLower(string(role)), role, "")
	}
	for rule, gives := range matrixRules {
		id := add(rule, access.Member, rule)
		a.call(200, "POST", "/v1/tenants/"+slug+"/accessRules?access_rule_id="+id,
			fmt.Sprintf(`{"effect": "ALLOW", "principals": [%q], %s}`, kind.PrincipalName(id), gives))
	}
}

// selves are the accounts that rows are about, and one of another tenant with the same name.
// They use keys of their own.
func selves(t *testing.T, a *api, all map[string]matrixPrincipal) {
	t.Helper()
	for name, p := range map[string]matrixPrincipal{
		"own user itself":            {account: "users/us-there", role: access.Member},
		"own service account itself": {account: "serviceAccounts/a-there", role: access.Reader},
	} {
		kind, slug, _ := access.AccountOf(p.account)
		p.known, p.own = true, true
		p.authorization = []string{"Bearer " + a.keyOf("t-there", kind, slug, "k-self", time.Time{})}
		all[name] = p
		all["another's "+p.account] = matrixPrincipal{
			authorization: []string{"Bearer " + a.accountOf("t-other", kind, slug, p.role, time.Time{})}, known: true, role: p.role, account: p.account,
		}
	}
}

// accountOf makes an account of the kind with a key, and returns the secret.
func (a *api) accountOf(tenantID string, kind access.Kind, id string, role access.Role, expires time.Time) string {
	a.t.Helper()
	tn, err := a.store.FindTenant(a.t.Context(), tenantID)
	if err != nil {
		a.t.Fatal(err)
	}
	by := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }
	if _, err := a.store.CreateAccount(a.t.Context(), by(), meta.Account{Tenant: tn.ID, Kind: kind, Slug: id, Role: role}); err != nil {
		a.t.Fatal(err)
	}
	return a.keyOf(tenantID, kind, id, "k-there", expires)
}

// keyOf makes a key of an account, and returns the secret.
func (a *api) keyOf(tenantID string, kind access.Kind, id, name string, expires time.Time) string {
	a.t.Helper()
	tn, err := a.store.FindTenant(a.t.Context(), tenantID)
	if err != nil {
		a.t.Fatal(err)
	}
	secret := newSecret(secretPrefix)
	k := meta.AccountKey{Name: name, Hash: sha256.Sum256([]byte(secret)), ExpiresAt: expires}
	if _, err := a.store.CreateAccountKey(a.t.Context(), meta.Cause{Op: uuid.New(), Actor: "operator"}, tn.ID, kind, id, k); err != nil {
		a.t.Fatal(err)
	}
	return secret
}
