package assemble_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/tools/testserver"
)

// startEdge starts nginx with the configuration that Berth comes with, before a
// node that runs all services, and returns its address.
func startEdge(t *testing.T, n *node) string {
	t.Helper()
	berth, err := filepath.Abs("../../deployments/nginx/berth.conf")
	if err != nil {
		t.Fatal(err)
	}
	locations := "set $berth_registry berth; set $berth_upload berth; set $berth_token berth; include " + berth + ";"
	begin, end := strings.Index(impatientNginx, "client_max_body_size"), strings.Index(impatientNginx, "\t}\n}\n")
	config := impatientNginx[:begin] + locations + impatientNginx[end:]
	address := testserver.FreeAddr(t)
	startNginxAs(t, config, address, n)
	return address
}

// TestQ15_ATokenOfManyScopesPassesTheEdge asks for it in a long query, and uses
// it, through nginx, split services and the hop between them.
func TestQ15_ATokenOfManyScopesPassesTheEdge(t *testing.T) {
	var scopes []string
	for i := range access.MaxScopes {
		scopes = append(scopes, fmt.Sprintf("repository:mirror/%s:pull,push", digest.FromString(fmt.Sprint(i)).Encoded()[:50]))
	}
	name := strings.Split(scopes[len(scopes)-1], ":")[1]
	for shape, w := range map[string]*world{"embedded": startEmbedded(t, conformanceSeed), "split": startSplit(t, conformanceSeed, "")} {
		t.Run(shape, func(t *testing.T) {
			if shape == "embedded" {
				w = newWorld(t, startEdge(t, w.nodes[0]), w.nodes...)
			}
			base := w.registry("conformance.localhost")
			query := url.Values{"service": {"conformance.localhost"}, "scope": scopes}.Encode()
			if len(query) < 40<<10 {
				t.Fatalf("the query has %d bytes only", len(query))
			}
			var got struct{ Token, Scope string }
			decode(t, w.as("suite"), base+"/token?"+query, "", &got)
			if len(got.Token) < 7<<10 || !strings.HasSuffix(got.Scope, scopes[len(scopes)-1]) {
				t.Fatalf("a token of %d bytes for %d scopes", len(got.Token), len(strings.Fields(got.Scope)))
			}
			// An upload, which an unsplit edge hands from registry to upload.
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v2/"+name+"/blobs/uploads/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+got.Token)
			resp, err := w.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusAccepted {
				t.Errorf("the token opens nothing: %d, %v", resp.StatusCode, err)
			}
		})
	}
}

func decode(t *testing.T, c *http.Client, target, bearer string, to any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%.60s: %d, %v", target, resp.StatusCode, err)
	}
}
