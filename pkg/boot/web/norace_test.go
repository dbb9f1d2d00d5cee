//go:build !race

package web

// forgotten is how many allocations more the race detector may cost a request.
const forgotten = 0
