package testserver

import "fmt"

// CacheSeed seeds the tenant acme, whose registry main needs no login for pulls and asks
// the upstream at the URL. More of the tenant may follow it.
func CacheSeed(url string) string {
	return fmt.Sprintf(`
tenants:
  - id: acme
    registries:
      - id: main
        upstream_group: chain
        anonymous_pull: true
    upstreams:
      - id: hub
        url: %q
    upstream_groups:
      - id: chain
        members: [{upstream: hub}]
`, url)
}
