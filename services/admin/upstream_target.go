package admin

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// targetMessage is a URL with what only its host gets: an upstream, or one of its
// alternatives.
type targetMessage interface {
	GetUrl() string
	GetUsername() string
	GetPassword() string
	GetCaCertificates() string
	GetClientCertificate() string
	GetClientKey() string
	GetHeaders() []*pb.Upstream_Header
}

// targetPlace is where a target is in an upstream.
type targetPlace struct {
	field string // before the names of its fields: "alternatives[0]."
	names meta.SecretNames
	was   meta.UpstreamTarget // what is there now: its secrets may be kept
}

// invalid is an error of a field of the target.
func (p targetPlace) invalid(field, format string, args ...any) error {
	return invalid(fieldUpstream+p.field+field, format, args...)
}

// givenFor refuses a secret that was given for another URL.
func (p targetPlace) givenFor(field, url string) error {
	return p.invalid(field, "it was given for %s: give the one for %s together with its url", p.was.URL, url)
}

// target checks the target that a client sets, and seals its secrets for their place.
func (s *Service) target(at targetPlace, m targetMessage) (meta.UpstreamTarget, error) {
	is := meta.UpstreamTarget{URL: m.GetUrl(), Username: m.GetUsername(), CA: m.GetCaCertificates(), Certificate: m.GetClientCertificate()}
	if err := upstream.CheckURL(is.URL); err != nil {
		return is, fault.From(err).WithField(fieldUpstream + at.field + "url")
	}
	if err := at.checkCertificates("ca_certificates", is.CA); err != nil {
		return is, err
	}
	if err := at.checkCertificates("client_certificate", is.Certificate); err != nil {
		return is, err
	}
	var err error
	if is.Password, err = s.password(at, m); err != nil {
		return is, err
	}
	if is.Key, err = s.clientKey(at, m); err != nil {
		return is, err
	}
	is.Headers, err = s.headers(at, m)
	return is, err
}

// checkCertificates checks certificates in PEM. There may be none.
func (p targetPlace) checkCertificates(field, text string) error {
	if len(text) > maxPEM {
		return p.invalid(field, "%d bytes exceed the maximum of %d", len(text), maxPEM)
	}
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return p.invalid(field, "it holds something other than certificates in PEM")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return p.invalid(field, "it holds a certificate that cannot be parsed")
		}
	}
	return nil
}

// sameAccess compares what decides who may see the content of a target, except for its
// secrets.
func sameAccess(a, b meta.UpstreamTarget) bool {
	return a.URL == b.URL && a.Username == b.Username && a.Certificate == b.Certificate
}

// headersMessage shows headers without their values.
func headersMessage(headers []meta.UpstreamHeader) []*pb.Upstream_Header {
	return mapped(headers, func(h meta.UpstreamHeader) *pb.Upstream_Header {
		return &pb.Upstream_Header{Name: h.Name, ValueSet: len(h.Value) > 0}
	})
}
