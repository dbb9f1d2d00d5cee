package token

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// NewHandler serves the token endpoint over HTTP, behind a front. mw go around
// each operation, the first outermost.
func NewHandler(s *Service, mw ...kit.Middleware) http.Handler {
	e := newEndpoints(s, mw)
	fail := kit.Errors(front.WriteError)
	tokens := front.Methods{
		http.MethodGet:  kit.Handler(e.issueToken, decodeQuery, encodeToken, fail),
		http.MethodPost: kit.Handler(e.issueToken, decodeForm, encodeToken, kit.Errors(writeOAuthError)),
	}
	keys := front.Methods{
		http.MethodGet: kit.Handler(e.listKeys, decodeNothing, encodeJSON[access.JWKS], fail),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == front.KeysPath {
			keys.ServeHTTP(w, r)
		} else {
			tokens.ServeHTTP(w, r)
		}
	})
}

func decodeNothing(context.Context, *http.Request) (ListKeysRequest, error) {
	return ListKeysRequest{}, nil
}

// decodeQuery reads the request of the Docker registry token specification:
// the credential, if any, is in Basic authorization.
func decodeQuery(ctx context.Context, r *http.Request) (IssueTokenRequest, error) {
	call := front.CallOf(ctx)
	req := IssueTokenRequest{Site: call.Site, Service: call.Query.Get("service"), Scopes: call.Query["scope"]}
	req.Offline, req.Client = call.Query.Get("offline_token") == "true", call.Query.Get("client_id")
	// docker login keeps the refresh token in place of the secret. Other tools, such as pull
	// secrets of Kubernetes, read its file and know names and secrets only, and a key can be
	// ended as well as a refresh token.
	req.NotForKeys = true
	headers := r.Header["Authorization"]
	if len(headers) == 0 {
		return req, nil
	}
	name, secret, ok := r.BasicAuth()
	if !ok || len(headers) > 1 {
		return IssueTokenRequest{}, fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "the token endpoint takes one Basic authorization, or none")
	}
	if name != "" || secret != "" { // clients without a credential send an empty one
		req.Credential = &Credential{Name: name, Secret: secret}
	}
	return req, nil
}

// formType is how OAuth 2 clients send their parameters (RFC 6749 section 4.3.2).
const formType = "application/x-www-form-urlencoded"

// decodeForm reads the request of OAuth 2 clients, with name and password or with a refresh
// token (Docker registry OAuth 2 specification).
func decodeForm(ctx context.Context, r *http.Request) (IssueTokenRequest, error) {
	form, err := readForm(r)
	if err != nil {
		return IssueTokenRequest{}, err
	}
	req := IssueTokenRequest{
		Site: front.CallOf(ctx).Site, Service: form.Get("service"), Scopes: form["scope"],
		Offline: form.Get("access_type") == "offline", Client: form.Get("client_id"),
	}
	switch form.Get("grant_type") {
	case "password":
		req.Credential = &Credential{Name: form.Get("username"), Secret: form.Get("password")}
	case "refresh_token":
		if req.Refresh = form.Get("refresh_token"); req.Refresh == "" {
			return IssueTokenRequest{}, fault.New(fault.Invalid, fault.RequestInvalid, "refresh_token is missing").WithField("refresh_token")
		}
		req.Offline = true // the client may keep it
	default:
		return IssueTokenRequest{}, fault.New(fault.Invalid, fault.RequestInvalid,
			"grant_type must be password, with a name and its secret, or refresh_token").WithField("grant_type")
	}
	return req, nil
}

// writeOAuthError answers in the form of OAuth 2 and in that of registries.
func writeOAuthError(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.From(err)
	if e == nil {
		front.WriteError(w, r, err)
		return
	}
	front.WriteError(w, r, &ocihttp.OAuthError{Cause: err, Code: oauthCode(e), Description: e.Message})
}

// oauthCode is the code of RFC 6749, sections 5.2 and 4.1.2.1.
func oauthCode(e *fault.Error) string {
	switch {
	case e.Reason == fault.UnauthorizedReason:
		return "invalid_grant"
	case e.Field == "grant_type":
		return "unsupported_grant_type"
	case e.Kind == fault.Unavailable, e.Kind == fault.TooMany:
		return "temporarily_unavailable"
	case e.Kind.Failure():
		return "server_error"
	default:
		return "invalid_request"
	}
}

func readForm(r *http.Request) (url.Values, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != formType {
		return nil, fault.New(fault.MediaType, fault.RequestInvalid, "Content-Type must be %s", formType)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, ocihttp.MaxTokenQuery+1))
	if fault.KindOf(err) == fault.TooSlow {
		return nil, err
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "the request body could not be read")
	}
	return ocihttp.ParseTokenQuery(string(body))
}

func encodeToken(ctx context.Context, w http.ResponseWriter, resp IssueTokenResponse) error {
	w.Header().Set("Cache-Control", "no-store")
	return encodeJSON(ctx, w, resp)
}

func encodeJSON[Resp any](_ context.Context, w http.ResponseWriter, resp Resp) error {
	body, err := json.Marshal(resp)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the client may have left
	return nil
}
