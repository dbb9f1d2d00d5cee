package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// ecrHost matches a private registry of AWS, with its region.
var ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$`)

// ecrLogin turns an access key into the registry's password, which lasts for
// twelve hours. The secret key only signs: it is never sent.
type ecrLogin struct {
	client *Client
	api    *ecr.Client

	mu      sync.Mutex // held while the API is asked, which is bounded
	basic   login
	expires time.Time
}

// newECRLogin returns nil if the credential is sent unchanged: to other registries,
// and for the user "AWS", whose password is already that of the registry.
func newECRLogin(c *Client) *ecrLogin {
	m := ecrHost.FindStringSubmatch(c.base.Hostname())
	if m == nil || c.config.anonymous() || c.config.Username == "AWS" {
		return nil
	}
	o := ecr.Options{
		Region:  m[1],
		Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: c.config.Username, SecretAccessKey: c.config.Password}, nil
		}),
		HTTPClient: boundedClient{c.ways.named},
	}
	if c.owner.ecrURL != "" {
		o.BaseEndpoint = aws.String(c.owner.ecrURL)
	}
	return &ecrLogin{client: c, api: ecr.New(o)}
}

// login is the Basic authorization for the registry.
func (l *ecrLogin) login(ctx context.Context) (login, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.basic.header != "" && time.Now().Before(l.expires) {
		return l.basic, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.client.limits.token, errSlow)
	defer cancel()
	out, err := l.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return login{}, l.failure(ctx, err)
	}
	if len(out.AuthorizationData) != 1 || out.AuthorizationData[0].AuthorizationToken == nil {
		return login{}, l.client.outage(nil, "got no password from the API of ECR")
	}
	data := out.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(*data.AuthorizationToken)
	if err != nil || !strings.HasPrefix(string(plain), "AWS:") {
		return login{}, l.client.outage(err, "got no password from the API of ECR")
	}
	l.basic = login{header: "Basic " + *data.AuthorizationToken, taken: time.Now()}
	l.expires = time.Now().Add(time.Hour)
	if data.ExpiresAt != nil {
		l.expires = data.ExpiresAt.Add(-tokenSlack)
	}
	return l.basic, nil
}

// forget drops the password that the registry no longer accepts.
func (l *ecrLogin) forget(sent login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.basic == sent {
		l.basic = login{}
	}
}

// failure distinguishes a refused key from an outage of the API.
func (l *ecrLogin) failure(ctx context.Context, err error) *Error {
	var (
		said   smithy.APIError
		answer *smithyhttp.ResponseError
	)
	if !errors.As(err, &said) || !errors.As(err, &answer) {
		return l.client.failed(ctx, err)
	}
	e := l.client.outage(err, "has an API for passwords that failed")
	e.Status = answer.HTTPStatusCode()
	switch {
	case e.Status >= 500:
		e.broken = true
	case e.Status == http.StatusTooManyRequests || strings.HasPrefix(said.ErrorCode(), "Throttling"):
		l.client.rateLimited(e)
	case e.Status == http.StatusBadRequest || e.Status == http.StatusForbidden:
		l.client.denied(e) // the API answers 400 for unknown keys
	}
	return e
}

// boundedClient is the HTTP client of AWS's library: guarded, without redirects,
// with bounded responses.
type boundedClient struct{ transport http.RoundTripper }

// Do implements aws.HTTPClient.
func (b boundedClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := b.transport.RoundTrip(r)
	if err == nil {
		resp.Body = readCloser{io.LimitReader(resp.Body, maxTokenReply), resp.Body}
	}
	return resp, err
}
