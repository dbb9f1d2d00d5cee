package front

import (
	"cmp"
	"net/http"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/audit"
)

// tellPull tells the audit sink of content that was sent, or that the client was sent to.
func (s router) tellPull(answer http.Header, r *http.Request, c *Call) {
	status := web.Status(r.Context())
	if r.Method != http.MethodGet || status < http.StatusOK || status >= http.StatusBadRequest || status == http.StatusNotModified {
		return
	}
	var verb string
	switch c.Route.Kind {
	case ocihttp.Manifest:
		verb = "manifest.pull"
	case ocihttp.Blob:
		verb = "blob.pull"
	default:
		return
	}
	digest := cmp.Or(answer.Get("Docker-Content-Digest"), c.Route.Digest.String(), c.Route.Reference.Digest.String())
	target := "registries/" + c.Site.RegistrySlug + "/repositories/" + c.Route.Name
	if tag := c.Route.Reference.Tag; tag != "" {
		target += ":" + tag
	}
	s.Pulls.Add(audit.Record{
		Time: time.Now().UTC(), Tenant: c.Site.TenantSlug, Actor: c.Principal.Actor(), Verb: verb,
		Target: target + "@" + digest, Digest: digest, RequestID: web.RequestID(r.Context()),
		Address: web.AddrText(web.ClientAddr(r.Context())), UserAgent: web.UserAgent(r.Context()), Times: 1,
	})
}
