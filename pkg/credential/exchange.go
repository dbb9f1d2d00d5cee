package credential

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
)

// exchange exchanges the workload's own token for one of the registry (RFC 8693).
type exchange struct {
	Declaration
	client *http.Client
}

func (exchange) key(Registry) string { return "" }

func (e exchange) obtain(ctx context.Context, _ Registry) (Credential, error) {
	subject, err := readFile(e.TokenFile)
	if err != nil {
		return Credential{}, err
	}
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {strings.TrimSpace(string(subject))},
		"subject_token_type": {cmp.Or(e.TokenType, "urn:ietf:params:oauth:token-type:jwt")},
	}
	for key, value := range map[string]string{"audience": e.Audience, "scope": e.Scope, "resource": e.Resource} {
		if value != "" {
			form.Set(key, value)
		}
	}
	var authenticate func(*http.Request)
	switch {
	case e.ClientSecretFile != "":
		secret, err := readFile(e.ClientSecretFile)
		if err != nil {
			return Credential{}, err
		}
		// RFC 6749, section 2.3.1: both are encoded like a form.
		id, password := url.QueryEscape(e.ClientID), url.QueryEscape(strings.TrimSpace(string(secret)))
		authenticate = func(r *http.Request) { r.SetBasicAuth(id, password) }
	case e.ClientID != "":
		form.Set("client_id", e.ClientID)
	}
	reply, err := postForm(ctx, e.client, "the token exchange", e.TokenURL, form, authenticate)
	if err != nil {
		return Credential{}, err
	}
	return named(e.Username, reply.Access, reply.expires()), nil
}
