package admin

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// shownToWriter is what a writer gets from routes that show content: the registry is empty.
var shownToWriter = map[string]int{"ListRegistries": 200, "GetRegistry": 404, "ListRepositories": 404, "GetRepository": 404, "ListTags": 404, "ListTagHistory": 400, "PurgeDigest": 400, "PromoteImage": 400, "ListDeletedManifests": 404, "ResolveReference": 404, "TestAccess": 400, "SearchContent": 400}

// Each route that the API description lists exists, is closed to those without
// a credential, and to those whose role is not enough.
func TestC7_EveryRouteIsClosed(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(pb.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	writer := a.account("acme", "writer", "WRITER")
	a.call(200, "POST", "/v1/tenants?tenant_id=evil", "")
	evil := a.account("evil", "admin", "ADMIN")

	parameter := regexp.MustCompile(`\{(\w+)\}`)
	seen := map[string]bool{}
	for template, methods := range doc.Paths {
		path := strings.ReplaceAll(template, "{tenant}", "acme")
		path = parameter.ReplaceAllString(path, "none")
		for method, op := range methods {
			seen[op.OperationID] = true
			method = strings.ToUpper(method)
			ofWriter, ofEvil := 403, 403
			switch rules[op.OperationID] {
			case pb.Access_MEMBER:
				ofWriter = shownToWriter[op.OperationID]
			case pb.Access_CALLER: // which names no tenant
				ofWriter, ofEvil = 200, 200
			}
			for token, want := range map[string]int{"": 401, "wrong": 401, writer: ofWriter, evil: ofEvil} {
				if resp, text := a.send(token, method, path, ""); resp.StatusCode != want {
					t.Errorf("%s %s (%s): %d, want %d: %s", method, path, op.OperationID, resp.StatusCode, want, text)
				}
			}
		}
	}
	for _, rpc := range rpcs() {
		if !seen[rpc] {
			t.Errorf("%s has no route", rpc)
		}
	}
}
