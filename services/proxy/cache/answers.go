package cache

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// maxHosts is how many upstream hosts have their own series. The number of
// upstreams has no bound: later hosts count as "other", and tenants are not labels.
const maxHosts = 100

// The results of an upstream's cache.
const (
	Hit   = "hit"   // from the cache, without asking the upstream
	Miss  = "miss"  // after asking the upstream
	Stale = "stale" // from the cache, since the upstream did not respond
)

// answerMetrics count the results of upstreams' caches.
type answerMetrics struct {
	answers *prometheus.CounterVec

	mu    sync.Mutex
	hosts map[string]bool
}

func newAnswerMetrics(reg prometheus.Registerer) *answerMetrics {
	return &answerMetrics{hosts: map[string]bool{}, answers: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "berth_cache_answers_total",
		Help: "What was answered for upstreams, by the upstream's host: hit from the cache, miss after asking the upstream, or stale because it did not answer.",
	}, []string{"upstream", "content", "result"})}
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

// CountAnswer counts the result, Hit, Miss or Stale, unless err is set. It returns
// err.
func (r *Repository) CountAnswer(content, result string, err error) error {
	if err == nil {
		m := r.caches.answers
		m.answers.WithLabelValues(m.host(r.Settings.URL), content, result).Inc()
	}
	return err
}
