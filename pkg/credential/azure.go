package credential

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// azure gets a refresh token of Azure Container Registry, for a token of Microsoft
// Entra: by workload identity if a token file is declared or in the environment, else by
// managed identity. Both are one request each, so the SDK for identities of Azure, with its
// browser logins and token caches, would be a heavy dependency.
type azure struct {
	Declaration
	client *http.Client
}

const (
	// azureUser is the user name that the registries take with a refresh token.
	azureUser      = "00000000-0000-0000-0000-000000000000"
	azureScope     = "https://containerregistry.azure.net/.default"
	azureAuthority = "https://login.microsoftonline.com"
	azureMetadata  = "http://169.254.169.254"
)

func (azure) key(r Registry) string { return r.URL.Scheme + "://" + r.URL.Host }

func (a azure) obtain(ctx context.Context, r Registry) (Credential, error) {
	token, err := a.identity(ctx)
	if err != nil {
		return Credential{}, err
	}
	// The host of the registry is a tenant's choice: it is asked like an upstream.
	client := &http.Client{Transport: bounded{r.Transport}, CheckRedirect: a.client.CheckRedirect}
	form := url.Values{"grant_type": {"access_token"}, "service": {r.URL.Host}, "access_token": {token}}
	if id := cmp.Or(a.TenantID, os.Getenv("AZURE_TENANT_ID")); id != "" {
		form.Set("tenant", id)
	}
	at := &url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: "/oauth2/exchange"}
	reply, err := postForm(ctx, client, "the registry's token exchange", at.String(), form, nil)
	if err != nil {
		return Credential{}, err
	}
	return Credential{Username: azureUser, Secret: reply.Refresh, Expires: expiryOf(reply.Refresh)}, nil
}

// identity is a token of Microsoft Entra for registries.
func (a azure) identity(ctx context.Context) (string, error) {
	scope := cmp.Or(a.Scope, azureScope)
	clientID := cmp.Or(a.ClientID, os.Getenv("AZURE_CLIENT_ID"))
	tokenFile := cmp.Or(a.TokenFile, os.Getenv("AZURE_FEDERATED_TOKEN_FILE"))
	if tokenFile != "" && a.MetadataEndpoint == "" {
		return a.workload(ctx, tokenFile, clientID, scope)
	}
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {strings.TrimSuffix(scope, "/.default")}}
	if clientID != "" {
		q.Set("client_id", clientID)
	}
	at := strings.TrimSuffix(cmp.Or(a.MetadataEndpoint, azureMetadata), "/") + "/metadata/identity/oauth2/token?" + q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Metadata", "true")
	reply, err := fetchToken(a.client, "the metadata server", r)
	return reply.Access, err
}

// workload exchanges the workload's own token (RFC 7523, section 2.2).
func (a azure) workload(ctx context.Context, tokenFile, clientID, scope string) (string, error) {
	tenantID := cmp.Or(a.TenantID, os.Getenv("AZURE_TENANT_ID"))
	if clientID == "" || tenantID == "" {
		return "", errors.New("workload identity needs client_id and tenant_id, or AZURE_CLIENT_ID and AZURE_TENANT_ID")
	}
	assertion, err := readFile(tokenFile)
	if err != nil {
		return "", err
	}
	authority := cmp.Or(a.Authority, os.Getenv("AZURE_AUTHORITY_HOST"), azureAuthority)
	at := strings.TrimSuffix(authority, "/") + "/" + url.PathEscape(tenantID) + "/oauth2/v2.0/token"
	reply, err := postForm(ctx, a.client, "Microsoft Entra", at, url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {clientID},
		"scope":                 {scope},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {strings.TrimSpace(string(assertion))},
	}, nil)
	return reply.Access, err
}

// expiryOf is when a JWT expires, as it says itself; zero if it does not.
func expiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 || claims.Expires > time.Now().Add(maxLife).Unix() {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}
