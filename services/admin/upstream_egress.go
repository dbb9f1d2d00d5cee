package admin

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// Limits of how an upstream is reached.
const (
	maxPEM          = 64 << 10 // bytes
	maxOwnHeaders   = 20
	maxHeaderName   = 100     // bytes
	maxHeaderValue  = 4 << 10 // bytes
	maxAlternatives = 5
	maxConnect      = time.Minute
	maxResponse     = 30 * time.Minute
	maxProgress     = 10 * time.Minute
	minPace         = 0.1
	maxPace         = 1000
	maxInFlight     = 64
)

// setEgress makes the settings of how u is reached what a client may set, checked. The
// secrets of alternatives are sealed for u.
func (s *Service) setEgress(u *meta.Upstream, is *meta.UpstreamSettings, m *pb.Upstream) error {
	is.Proxy, is.Pace, is.MaxRequests = m.GetProxy(), m.GetMaxRequestsPerSecond(), int(m.GetMaxConcurrentRequests())
	if err := s.setAlternatives(u, is, m.GetAlternatives()); err != nil {
		return err
	}
	for _, d := range []struct {
		field string
		from  *durationpb.Duration
		to    *time.Duration
		max   time.Duration
	}{
		{"connect_timeout", m.GetConnectTimeout(), &is.Connect, maxConnect},
		{"response_timeout", m.GetResponseTimeout(), &is.Response, maxResponse},
		{"progress_timeout", m.GetProgressTimeout(), &is.Progress, maxProgress},
	} {
		*d.to = d.from.AsDuration()
		if d.from != nil && (d.from.CheckValid() != nil || *d.to < time.Second || *d.to > d.max) {
			return invalid(fieldUpstream+d.field, "%s is out of range: from 1s to %gs, or absent for the default", d.from.AsDuration(), d.max.Seconds())
		}
	}
	if p := is.Pace; p != 0 && !(p >= minPace && p <= maxPace) { // NaN is neither
		return invalid(fieldUpstream+"max_requests_per_second", "%g is out of range: from %g to %d, or 0 for the default", p, minPace, maxPace)
	}
	if n := is.MaxRequests; n < 0 || n > maxInFlight {
		return invalid(fieldUpstream+"max_concurrent_requests", "%d is out of range: from 1 to %d, or 0 for the default", n, maxInFlight)
	}
	return nil
}

// showEgress shows how an upstream is reached, without its secrets.
func showEgress(m *pb.Upstream, set meta.UpstreamSettings) {
	m.Proxy, m.CaCertificates, m.ClientCertificate, m.ClientKeySet = set.Proxy, set.CA, set.Certificate, len(set.Key) > 0
	m.MaxRequestsPerSecond, m.MaxConcurrentRequests = set.Pace, int32(set.MaxRequests)
	m.Headers, m.Alternatives = headersMessage(set.Headers), mapped(set.Alternatives, alternativeMessage)
	for _, d := range []struct {
		from time.Duration
		to   **durationpb.Duration
	}{{set.Connect, &m.ConnectTimeout}, {set.Response, &m.ResponseTimeout}, {set.Progress, &m.ProgressTimeout}} {
		if d.from > 0 {
			*d.to = durationpb.New(d.from)
		}
	}
}
