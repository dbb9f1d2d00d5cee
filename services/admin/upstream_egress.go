package admin

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
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

// setEgress makes the settings of how u is reached what a client may set, checked. Its
// secrets are sealed for u.
func (s *Service) setEgress(u *meta.Upstream, is *meta.UpstreamSettings, m *pb.Upstream) error {
	is.Proxy, is.CA, is.Certificate = m.GetProxy(), m.GetCaCertificates(), m.GetClientCertificate()
	is.Pace, is.MaxRequests = m.GetMaxRequestsPerSecond(), int(m.GetMaxConcurrentRequests())
	if err := checkCertificates("ca_certificates", is.CA); err != nil {
		return err
	}
	if err := s.setClientKey(u, is, m); err != nil {
		return err
	}
	if err := s.setHeaders(u, is, m.GetHeaders()); err != nil {
		return err
	}
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

// checkCertificates checks certificates in PEM; none is right.
func checkCertificates(field, text string) error {
	if len(text) > maxPEM {
		return invalid(fieldUpstream+field, "%d bytes exceed the maximum of %d", len(text), maxPEM)
	}
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return invalid(fieldUpstream+field, "it holds something other than certificates in PEM")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return invalid(fieldUpstream+field, "it holds a certificate that cannot be parsed")
		}
	}
	return nil
}

// showEgress shows how an upstream is reached, without its secrets.
func showEgress(m *pb.Upstream, set meta.UpstreamSettings) {
	m.Proxy, m.CaCertificates, m.ClientCertificate, m.ClientKeySet = set.Proxy, set.CA, set.Certificate, len(set.Key) > 0
	m.MaxRequestsPerSecond, m.MaxConcurrentRequests = set.Pace, int32(set.MaxRequests)
	for _, h := range set.Headers {
		m.Headers = append(m.Headers, &pb.Upstream_Header{Name: h.Name, ValueSet: len(h.Value) > 0})
	}
	for _, a := range set.Alternatives {
		m.Alternatives = append(m.Alternatives, &pb.Upstream_Alternative{Url: a.URL, Username: a.Username, PasswordSet: len(a.Password) > 0})
	}
	for _, d := range []struct {
		from time.Duration
		to   **durationpb.Duration
	}{{set.Connect, &m.ConnectTimeout}, {set.Response, &m.ResponseTimeout}, {set.Progress, &m.ProgressTimeout}} {
		if d.from > 0 {
			*d.to = durationpb.New(d.from)
		}
	}
}
