package cache

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// maxHosts is how many hosts of upstreams have series of their own. Upstreams are
// tenants' resources, so their number has no bound: what comes later counts as
// "other", and no tenant is a label.
const maxHosts = 100

// How an upstream's cache answered.
const (
	Hit   = "hit"   // from what is kept, without asking the upstream
	Miss  = "miss"  // after asking the upstream
	Stale = "stale" // from what is kept, since the upstream did not answer
)

// answerMetrics count what upstreams' caches were asked for and had.
type answerMetrics struct {
	answers *prometheus.CounterVec

	mu    sync.Mutex
	hosts map[string]bool
}

func newAnswerMetrics(reg prometheus.Registerer) *answerMetrics {
	m := &answerMetrics{hosts: map[string]bool{}, answers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "berth_cache_answers_total",
		Help: "What was answered for upstreams, by the upstream's host: hit from the cache, miss after asking the upstream, or stale because it did not answer.",
	}, []string{"upstream", "content", "result"})}
	if reg != nil {
		reg.MustRegister(m.answers)
	}
	return m
}

// count counts one answer for the upstream at the URL.
func (m *answerMetrics) count(url, content, result string) {
	m.answers.WithLabelValues(m.host(url), content, result).Inc()
}

// host is the label of the upstream at the URL.
func (m *answerMetrics) host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hosts[host] {
		if len(m.hosts) == maxHosts {
			return "other"
		}
		m.hosts[host] = true
	}
	return host
}

// CountAnswer counts how the cache of the upstream answered, Hit, Miss or Stale,
// unless that failed. It returns err.
func (r *Repository) CountAnswer(content, result string, err error) error {
	if err == nil {
		r.caches.answers.count(r.Settings.URL, content, result)
	}
	return err
}
