package testserver

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Clouds is what credential helpers talk to, at one address: the API of ECR, AWS STS,
// the metadata servers of AWS, Google and Azure, Microsoft Entra, and a token exchange.
// It goes with the test.
type Clouds struct {
	*Door

	mu     sync.Mutex
	secret string // what they all give in the end
	life   time.Duration
	broken int // a status that is answered instead; 0 = none
}

// The credentials within the clouds.
const (
	CloudKey     = "AKIAMACHINE"  // access key of the machine's role
	CloudRoleKey = "ASIAROLE"     // of the role that STS lets assume
	CloudToken   = "workload-jwt" // the workload's own token
	EntraToken   = "entra-token"  // Microsoft Entra's, for the exchange of a registry
)

// StartClouds starts the clouds; secret is what registries take.
func StartClouds(t testing.TB, secret string) *Clouds {
	t.Helper()
	c := &Clouds{secret: secret, life: time.Hour}
	c.Door = openDoor(t, http.HandlerFunc(c.serve), nil)
	return c
}

// SetSecret changes what they give, and how long it lasts.
func (c *Clouds) SetSecret(secret string, life time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret, c.life = secret, life
}

// Break answers everything with the status from now on; 0 ends that.
func (c *Clouds) Break(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = status
}

func (c *Clouds) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	secret, life, broken := c.secret, c.life, c.broken
	c.mu.Unlock()
	w.Header().Set("Connection", "close")
	_ = r.ParseForm()
	auth := r.Header.Get("Authorization")
	seconds := int(life.Seconds())
	switch path := r.URL.Path; {
	case broken != 0:
		http.Error(w, "broken", broken)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken"):
		if !strings.Contains(auth, "Credential="+CloudKey+"/") && !strings.Contains(auth, "Credential="+CloudRoleKey+"/") {
			http.Error(w, `{"__type":"UnrecognizedClientException"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		token := base64.StdEncoding.EncodeToString([]byte("AWS:" + secret))
		fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d}]}`, token, time.Now().Add(life).Unix())
	case r.Form.Get("Action") == "AssumeRole" && strings.Contains(auth, "Credential="+CloudKey+"/"),
		r.Form.Get("Action") == "AssumeRoleWithWebIdentity" && strings.TrimSpace(r.Form.Get("WebIdentityToken")) == CloudToken:
		assumeRole(w, r.Form.Get("Action"))
	case path == "/latest/api/token" && r.Method == http.MethodPut:
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		fmt.Fprint(w, "imds")
	case path == "/latest/meta-data/iam/security-credentials/":
		fmt.Fprint(w, "machine")
	case path == "/latest/meta-data/iam/security-credentials/machine":
		fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":%q,"SecretAccessKey":"x","Token":"y","Expiration":%q}`, CloudKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	case path == "/computeMetadata/v1/instance/service-accounts/default/token" && r.Header.Get("Metadata-Flavor") == "Google",
		path == "/google/token" && r.Form.Get("assertion") != "",
		path == "/exchange" && r.Form.Get("subject_token") == CloudToken && r.Form.Get("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, secret, seconds)
	case path == "/metadata/identity/oauth2/token" && r.Header.Get("Metadata") == "true" && r.Form.Get("resource") == "https://containerregistry.azure.net",
		path == "/directory/oauth2/v2.0/token" && r.Form.Get("client_assertion") == CloudToken && r.Form.Get("scope") == "https://containerregistry.azure.net/.default":
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":"%d"}`, EntraToken, seconds)
	default:
		http.Error(w, "unknown "+r.Method+" "+path, http.StatusForbidden)
	}
}

func assumeRole(w http.ResponseWriter, action string) {
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>%[2]s</AccessKeyId>`+
		`<SecretAccessKey>x</SecretAccessKey><SessionToken>y</SessionToken><Expiration>%[3]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		action, CloudRoleKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}
