package admin

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxPaced bounds the memory of a devicePace: the logins that were asked about least recently are
// forgotten.
const maxPaced = 16384

// devicePace is when each login of a device was asked about, at this node. Safe for concurrent use.
type devicePace struct {
	mu   sync.Mutex
	last *lru.Cache[string, time.Time]
}

func newDevicePace() *devicePace {
	last, err := lru.New[string, time.Time](maxPaced)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &devicePace{last: last}
}

// early reports whether a login was asked about less than interval ago, but for what the network
// varies by. A request that is early counts for nothing.
func (p *devicePace) early(id string, interval time.Duration, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.last.Get(id)
	if ok && now.Sub(last) < interval*9/10 {
		return true
	}
	p.last.Add(id, now)
	return false
}
