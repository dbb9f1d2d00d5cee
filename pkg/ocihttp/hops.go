package ocihttp

import "net/http"

// HeaderHops counts, in what one registry asks another, through how many
// registries the request came: by it a chain that leads back to where it began
// comes to an end (contract row E12).
const HeaderHops = "Berth-Hops"

// MaxHops is how many registries may ask for one another.
const MaxHops = 5

// ParseHops reads HeaderHops: 0 without the header, and more than MaxHops for
// one that says so, or is malformed: whatever it meant, nobody asks on.
func ParseHops(h http.Header) int {
	switch values := h[HeaderHops]; {
	case len(values) == 0:
		return 0
	case len(values) == 1 && len(values[0]) == 1 && '0' <= values[0][0] && values[0][0] <= '0'+MaxHops:
		return int(values[0][0] - '0')
	default:
		return MaxHops + 1
	}
}
