package upstream_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
)

func Example() {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/acme/app/manifests/v1" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
			return
		}
		w.Header().Set("Content-Type", oci.MediaTypeImageIndex)
		fmt.Fprint(w, `{"schemaVersion":2,"manifests":[]}`)
	}))
	defer registry.Close()

	clients := upstream.New(upstream.Options{
		Allow: []upstream.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}, // the one above is not public
	})
	c, err := clients.Client(upstream.Config{Key: "1", Tenant: "acme", Upstream: "ghcr", Target: upstream.Target{URL: registry.URL}})
	if err != nil {
		log.Fatal(err)
	}
	m, err := c.Manifest(context.Background(), "acme/app", oci.Reference{Tag: "v1"})
	fmt.Println(upstream.OutcomeOf(err), m.MediaType, len(m.Payload))

	_, err = c.Manifest(context.Background(), "acme/app", oci.Reference{Tag: "v2"})
	fmt.Println(upstream.OutcomeOf(err), fault.KindOf(err), fault.From(err).Message)
	// Output:
	// found application/vnd.oci.image.index.v1+json 34
	// not_here not_found upstream "ghcr" does not have it
}
