package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/berth-registry/berth/pkg/fault"
)

// ecrRole gets the password of ECR by the usual credentials of AWS: environment, files,
// workload identity (IRSA, EKS Pod Identity, ECS), instance. Where a role is declared, it
// is assumed with these, or with the workload's own token.
type ecrRole struct {
	Declaration
	client *awshttp.BuildableClient // of the library, which adds the authorities of AWS_CA_BUNDLE
}

func newECRRole(d Declaration) *ecrRole {
	client := awshttp.NewBuildableClient().WithTimeout(defaultTimeout).WithTransportOptions(func(t *http.Transport) {
		t.Proxy, t.DisableKeepAlives = proxyOf, true
	})
	return &ecrRole{d, client}
}

func (e *ecrRole) key(r Registry) string { return e.region(r) }

func (e *ecrRole) region(r Registry) string {
	if region, ok := Region(r.URL.Hostname()); ok {
		return region
	}
	return e.Region
}

func (e *ecrRole) obtain(ctx context.Context, r Registry) (Credential, error) {
	region := e.region(r)
	if region == "" {
		return Credential{}, errors.New("the host does not name the region of AWS: set region of the helper")
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(e.client), config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }), config.WithDefaultRegion(region),
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			if e.STSEndpoint != "" {
				o.Client = e.sts(aws.Config{Region: region, HTTPClient: e.client})
			}
		}),
	}
	if e.MetadataEndpoint != "" {
		options = append(options, config.WithEC2IMDSEndpoint(e.MetadataEndpoint))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return Credential{}, err
	}
	if e.Region != "" {
		loaded.Region = e.Region
	}
	keys := loaded.Credentials
	switch {
	case e.RoleARN != "" && e.TokenFile != "":
		keys = stscreds.NewWebIdentityRoleProvider(e.sts(loaded), e.RoleARN, stscreds.IdentityTokenFile(e.TokenFile), func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName = sessionName
		})
	case e.RoleARN != "":
		keys = stscreds.NewAssumeRoleProvider(e.sts(loaded), e.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = sessionName
			if e.ExternalID != "" {
				o.ExternalID = aws.String(e.ExternalID)
			}
		})
	}
	return ecrPassword(ctx, region, e.Endpoint, keys, loaded.HTTPClient)
}

// sessionName is how CloudTrail shows the role's calls.
const sessionName = "berth"

func (e *ecrRole) sts(c aws.Config) *sts.Client {
	return sts.NewFromConfig(c, func(o *sts.Options) {
		o.Retryer = aws.NopRetryer{}
		if e.STSEndpoint != "" {
			o.BaseEndpoint = aws.String(e.STSEndpoint)
		}
	})
}

// ecrKey gets the password of ECR by an access key. The secret key only signs.
type ecrKey struct {
	id, secret, region, endpoint string
	transport                    http.RoundTripper
}

// NewECRKey keeps the password of ECR in a region that an access key gives. The API is
// asked through the transport; an empty endpoint is that of AWS.
func NewECRKey(id, secret, region, endpoint string, transport http.RoundTripper) *Held {
	return hold(ecrKey{id, secret, region, endpoint, bounded{transport}}, time.Hour, defaultTimeout)
}

func (ecrKey) key(Registry) string { return "" }

func (k ecrKey) obtain(ctx context.Context, _ Registry) (Credential, error) {
	keys := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret}, nil
	})
	return ecrPassword(ctx, k.region, k.endpoint, keys, roundTrip{k.transport})
}

// roundTrip is a client of AWS's library that follows no redirect.
type roundTrip struct{ http.RoundTripper }

// Do implements aws.HTTPClient.
func (t roundTrip) Do(r *http.Request) (*http.Response, error) { return t.RoundTrip(r) }

// ecrPassword turns credentials of AWS into the registry's password, which lasts for
// twelve hours.
func ecrPassword(ctx context.Context, region, endpoint string, keys aws.CredentialsProvider, client aws.HTTPClient) (Credential, error) {
	o := ecr.Options{Region: region, Retryer: aws.NopRetryer{}, Credentials: keys, HTTPClient: client}
	if endpoint != "" {
		o.BaseEndpoint = aws.String(endpoint)
	}
	out, err := ecr.New(o).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return Credential{}, awsFailure(err)
	}
	const nothing = "the API of ECR gave no password"
	if len(out.AuthorizationData) != 1 || out.AuthorizationData[0].AuthorizationToken == nil {
		return Credential{}, errors.New(nothing)
	}
	data := out.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(*data.AuthorizationToken)
	password, ok := strings.CutPrefix(string(plain), "AWS:")
	if err != nil || !ok {
		return Credential{}, errors.New(nothing)
	}
	c := Credential{Username: "AWS", Secret: password}
	if data.ExpiresAt != nil {
		c.Expires = *data.ExpiresAt
	}
	return c, nil
}

// awsFailure distinguishes refused credentials and throttling from an outage.
func awsFailure(err error) error {
	var (
		said   smithy.APIError
		answer *smithyhttp.ResponseError
	)
	if !errors.As(err, &said) || !errors.As(err, &answer) {
		return err
	}
	status := answer.HTTPStatusCode()
	if strings.HasPrefix(said.ErrorCode(), "Throttling") {
		status = http.StatusTooManyRequests
	}
	// The API answers 400 for unknown keys.
	f := fault.From(refused(max(status, http.StatusBadRequest), "AWS"))
	return fault.Wrap(err, f.Kind, f.Reason, "%s", f.Message)
}
