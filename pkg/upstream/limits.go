package upstream

import (
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
)

// limits bound the cost of an upstream. Only tests change the default.
type limits struct {
	dial   time.Duration // to look the name up and connect
	tls    time.Duration // for the handshake
	answer time.Duration // for a whole document, or the header of a blob; token and redirects included
	window time.Duration // each windowBytes of a blob arrive within it: 1 KiB/s
	token  time.Duration // for a token, however many wait for it

	windowBytes int64

	documents, blobs int           // requests at a time
	queue            int           // requests that wait for a place
	largeOfOne       int           // large documents of a tenant that are in memory at a time
	large            int           // likewise, of all tenants
	rate             float64       // requests per second
	burst            int           // requests
	patience         time.Duration // maximum wait of a request for the rate
	breakAfter       uint32        // failures in a row
	breakFor         time.Duration
	backOff          time.Duration // after a 429 that does not say for how long
	maxBackOff       time.Duration
}

func defaultLimits() limits {
	return limits{
		dial:        5 * time.Second,
		tls:         10 * time.Second,
		answer:      30 * time.Second,
		window:      30 * time.Second,
		token:       30 * time.Second,
		windowBytes: 30 << 10,
		documents:   64,
		blobs:       32,
		queue:       2000,
		largeOfOne:  4,
		large:       16,
		rate:        200,
		burst:       1000,
		patience:    10 * time.Second,
		breakAfter:  5,
		breakFor:    5 * time.Second,
		backOff:     10 * time.Second,
		maxBackOff:  5 * time.Minute,
	}
}

// with are the limits of one upstream.
func (l limits) with(own Limits) limits {
	if own.Connect > 0 {
		l.dial, l.tls = own.Connect, own.Connect
	}
	if own.Response > 0 {
		l.answer, l.token = own.Response, own.Response
	}
	if own.Progress > 0 {
		l.window, l.windowBytes = own.Progress, bytesWithin(own.Progress)
	}
	if own.Pace > 0 {
		l.rate, l.burst = own.Pace, 1
		l.patience = max(l.patience, l.answer)
	}
	if own.Requests > 0 {
		l.documents, l.blobs = own.Requests, own.Requests
	}
	return l
}

// bytesWithin is what arrives within d at 1 KiB/s.
func bytesWithin(d time.Duration) int64 { return int64(max(1, d.Seconds()*(1<<10))) }

// gateOfLarge reserves a quarter for tenants without a large document in memory: an
// upstream may send one as slowly as the time limit allows.
func (l limits) gateOfLarge() *fairgate.Gate[string] {
	kept := l.large / 4
	return fairgate.New[string](fairgate.Options{
		Capacity: int64(l.large - kept), Most: int64(l.largeOfOne), Assured: 1, Beyond: int64(kept),
	})
}

// Size limits of documents, in bytes.
const (
	maxTokenReply = 64 << 10
	maxToken      = 16 << 10 // many are kept, and servers accept no longer headers
	maxTagPage    = 4 << 20
	maxList       = 32 << 20 // of tags or referrers, all pages
	maxHeader     = 64 << 10
	largeDocument = 256 << 10 // more than this is large; few manifests are
	// maxUnsized bounds a blob of unknown size, so that it does not fill the disk.
	maxUnsized = 1 << 30
)
