package assemble_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestP7_AnswersEndWithALineBreak asks each listener for what it answers in JSON.
func TestP7_AnswersEndWithALineBreak(t *testing.T) {
	w := startEmbedded(t, uploadsSeed)
	suite := w.repository(uploadsHost, "suite", "app")
	suite.push(t, suite.image(t, nil), "1")
	operator := headers("Authorization", "Bearer "+secret)
	node := w.nodes[0]
	at := func(setting string) repository {
		return repository{deployment{base: "http://" + uploadsHost, client: clientOf(t, node.at(setting))}, "app"}
	}
	for _, c := range []struct {
		by     repository
		path   string
		header http.Header
	}{
		{suite, "/v2/", nil},
		{suite, "/v2/_catalog", nil},
		{suite, "/v2/app/tags/list", nil},
		{suite, "/v2/app/referrers/" + absent.String(), nil},
		{suite, "/v2/app/manifests/none", nil},
		{suite, "/token", nil},
		{suite, "/token/jwks", nil},
		{at("data_addr"), "/v2/_catalog", nil},
		{at("admin_addr"), "/v1/tenants", nil},
		{at("admin_addr"), "/v1/tenants", operator},
		{at("admin_addr"), "/v1/tenants/none", operator},
		{at("admin_addr"), "/v1/none", operator},
		{at("admin_addr"), "/openapi.json", nil},
		{at("ops_addr"), "/readyz", nil},
		{at("ops_addr"), "/healthz", nil},
	} {
		a := c.by.send(t, request{target: c.path, header: c.header})
		if text := string(a.body); !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") {
			t.Errorf("%s: %d ends with %q", c.path, a.status, text[max(0, len(text)-10):])
		}
	}
}
