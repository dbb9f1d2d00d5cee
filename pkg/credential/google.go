package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"golang.org/x/oauth2"
	goauth "golang.org/x/oauth2/google"

	"github.com/berth-registry/berth/pkg/fault"
)

// google gets an access token of Google: by a file of credentials, by the metadata server
// where its endpoint is declared, or by the application default credentials.
type google struct {
	Declaration
	client *http.Client
}

// googleUser is the user name that Google's registries take with an access token.
const googleUser = "oauth2accesstoken"

// googleScope suffices for Artifact Registry and Container Registry.
const googleScope = "https://www.googleapis.com/auth/cloud-platform"

func (google) key(Registry) string { return "" }

func (g google) obtain(ctx context.Context, _ Registry) (Credential, error) {
	if g.MetadataEndpoint != "" && g.CredentialsFile == "" {
		return g.ofInstance(ctx)
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, g.client)
	found, err := g.credentials(ctx)
	if err != nil {
		return Credential{}, err
	}
	t, err := found.TokenSource.Token()
	if err != nil {
		return Credential{}, googleFailure(err)
	}
	return Credential{Username: googleUser, Secret: t.AccessToken, Expires: t.Expiry}, nil
}

func (g google) scope() string {
	if g.Scope != "" {
		return g.Scope
	}
	return googleScope
}

func (g google) credentials(ctx context.Context) (*goauth.Credentials, error) {
	if g.CredentialsFile == "" {
		return goauth.FindDefaultCredentials(ctx, g.scope())
	}
	text, err := readFile(g.CredentialsFile)
	if err != nil {
		return nil, err
	}
	var said struct {
		Type goauth.CredentialsType `json:"type"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("credentials_file %s is not JSON", g.CredentialsFile)
	}
	return goauth.CredentialsFromJSONWithType(ctx, text, said.Type, g.scope())
}

// ofInstance asks the metadata server for the token of the instance, or of the pod
// with workload identity.
func (g google) ofInstance(ctx context.Context) (Credential, error) {
	at := strings.TrimSuffix(g.MetadataEndpoint, "/") + "/computeMetadata/v1/instance/service-accounts/default/token"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return Credential{}, err
	}
	r.Header.Set("Metadata-Flavor", "Google")
	t, err := fetchToken(g.client, "the metadata server", r)
	return Credential{Username: googleUser, Secret: t.Access, Expires: t.expires()}, err
}

// googleFailure distinguishes a refusal from an outage.
func googleFailure(err error) error {
	var said *oauth2.RetrieveError
	if !errors.As(err, &said) || said.Response == nil {
		return err
	}
	if f := fault.From(refused(said.Response.StatusCode, "Google")); f != nil {
		return fault.Wrap(err, f.Kind, f.Reason, "%s", f.Message)
	}
	return err
}

// readFile reads a small file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readReply(f)
}
