package registry_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/scan"
)

// scanned is a bench with a rule about results of scans alone, and signs none of the images.
type scanned struct{ *ruled }

func newScanned(t *testing.T, change func(*meta.PullRule)) scanned {
	t.Helper()
	return scanned{newRuled(t, func(rule *meta.PullRule) {
		rule.Keys, rule.ArtifactTypes = nil, nil
		rule.Scan = meta.ScanRequirement{MaxAge: 24 * time.Hour, MaxSeverity: scan.Medium}
		if change != nil {
			change(rule)
		}
	})}
}

// record is a vulnerability scan record of Trivy with findings of some severities, of a scan
// that ended so long ago.
func record(d string, ago time.Duration, severities ...string) []byte {
	var found []string
	for _, s := range severities {
		found = append(found, fmt.Sprintf(`{"Severity": %q}`, s))
	}
	said := fmt.Appendf(nil, `{"scanner": {"result": {"SchemaVersion": 2, "Results": [{"Vulnerabilities": [%s]}]}}, "metadata": {"scanFinishedOn": %q}}`,
		strings.Join(found, ","), at(ago))
	return cosigntest.Attestation(scan.Predicate, said, oci.Digest(d))
}

func at(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(time.RFC3339) }

// sarif is a log without findings above medium, or with a high one.
func sarif(ago time.Duration, high bool) []byte {
	score := "6.9"
	if high {
		score = "7.0"
	}
	return fmt.Appendf(nil, `{"runs": [{"tool": {"driver": {"rules": [{"id": "a", "properties": {"security-severity": %q}}]}}, "invocations": [{"endTimeUtc": %q}], "results": [{"ruleId": "a"}]}]}`, score, at(ago))
}

// attach pushes a layer as a referrer of a manifest. Its manifest says when it was made, if
// that is not empty.
func (s scanned) attach(d, artifactType string, layer ocitest.Content, created string) {
	s.t.Helper()
	found, err := s.Meta.FindManifest(s.t.Context(), s.repo("app"), oci.Reference{Digest: oci.Digest(d)})
	if err != nil {
		s.t.Fatal(err)
	}
	annotations := map[string]string{}
	if created != "" {
		annotations["org.opencontainers.image.created"] = created
	}
	subject := ocitest.New(found.MediaType, found.Payload).Descriptor
	m := ocitest.Extra{Subject: &subject, ArtifactType: artifactType, Annotations: annotations}.Manifest(ocitest.Empty(), layer)
	s.PutBlob(s.repo("app"), ocitest.Empty().Bytes)
	s.PutBlob(s.repo("app"), layer.Bytes)
	s.pushed("/v2/app/manifests/"+m.Digest.String(), string(m.Bytes))
}

// attest pushes a record as a bundle.
func (s scanned) attest(d string, record []byte) {
	s.attach(d, cosign.Bundle, ocitest.New(cosign.Bundle, s.key.Envelope(record)), at(0))
}

// tag pushes records under the tag of cosign.
func (s scanned) tag(d string, layers ...ocitest.Content) {
	s.t.Helper()
	m, config := cosigntest.Simple(layers...)
	for _, b := range append(layers, config) {
		s.PutBlob(s.repo("app"), b.Bytes)
	}
	s.pushed("/v2/app/manifests/"+cosign.AttestationTag(oci.Digest(d)), string(m.Bytes))
}

// refused fails the test unless the pulls are refused for the reason.
func (s scanned) refused(why string, references ...string) {
	s.t.Helper()
	s.pass(3 * time.Second)
	for _, reference := range references {
		if a := s.do(http.MethodGet, "/v2/app/manifests/"+reference); a.Status != http.StatusForbidden || !strings.Contains(a.Body, why) {
			s.t.Errorf("%s: %d %s, want %q", reference, a.Status, a.Body, why)
		}
	}
}

func (s scanned) served(references ...string) {
	s.t.Helper()
	s.pass(3 * time.Second)
	s.want(http.StatusOK, references...)
}

// worse lets a verdict end that is known, and hides what is newer for as long.
func (s scanned) worse() { s.pass(6 * time.Minute) }

// TestW179_ResultsOfScans: none, an old one, findings, and a verdict that ends with the age.
func TestW179_ResultsOfScans(t *testing.T) {
	s := newScanned(t, nil)
	s.refused("the image needs the result of a scan: it has none", "1", s.image)
	s.attest(s.image, record(s.image, 25*time.Hour))
	s.refused("the last one ended at "+at(25 * time.Hour)[:10], "1")
	s.attest(s.image, record(s.image, 23*time.Hour, "LOW", "MEDIUM"))
	s.served("1", s.image)
	s.attest(s.image, record(s.image, 22*time.Hour, "HIGH", "CRITICAL", "CRITICAL", "UNKNOWN", "LOW"))
	s.worse()
	s.refused("has findings above MEDIUM: 2 CRITICAL, 1 HIGH, 1 of unknown severity", "1", s.image)
	s.attest(s.image, record(s.image, 21*time.Hour))
	s.served("1")
	s.pass(2*time.Hour + 45*time.Minute)
	s.served("1")
	s.pass(4*time.Minute + 30*time.Second) // the verdict would be known for longer
	s.pass(10 * time.Minute)
	s.refused("more than 24h0m0s ago", "1")
}

// TestW179_EachFormCounts: each result is newer than the one before, and in another form.
func TestW179_EachFormCounts(t *testing.T) {
	s := newScanned(t, nil)
	s.attest(s.image, cosigntest.Attestation("https://slsa.dev/provenance/v1", []byte(`{}`), oci.Digest(s.image)))
	s.refused("it has none", "1")
	s.attach(s.image, scan.SARIF, ocitest.New(scan.SARIF, sarif(5*time.Hour, true)), "")
	s.refused("1 HIGH", "1")
	s.attest(s.image, record(s.image, 4*time.Hour))
	s.served("1")
	s.tag(s.image, s.key.EnvelopeLayer(record(s.image, 6*time.Hour)), s.key.EnvelopeLayer(record(s.image, 3*time.Hour, "CRITICAL")))
	s.worse()
	s.refused("1 CRITICAL", "1")
	s.attach(s.image, cosign.InToto, s.key.EnvelopeLayer(record(s.image, 2*time.Hour)), "")
	s.served("1")
	s.attach(s.image, "application/vnd.oci.empty.v1+json", s.key.EnvelopeLayer(record(s.image, time.Hour, "HIGH", "HIGH")), "")
	s.worse()
	s.refused("2 HIGH", "1")
	s.attach(s.image, scan.SARIF, ocitest.New("application/json", sarif(time.Minute, false)), at(0))
	s.served("1", cosign.AttestationTag(oci.Digest(s.image)))
}

// TestW181_ResultsAreSigned by a key of the rule, if it has any.
func TestW181_ResultsAreSigned(t *testing.T) {
	s := newScanned(t, func(rule *meta.PullRule) {
		rule.Keys = []string{cosigntest.New(cosigntest.P256).PEM(), "later"}
	})
	s.update(func(rule *meta.PullRule) { rule.Keys[1] = s.key.PEM() })
	s.refused("signed by one of its keys: it has none", "1")
	stranger := cosigntest.New(cosigntest.P256)
	s.attach(s.image, scan.SARIF, ocitest.New(scan.SARIF, sarif(time.Hour, false)), at(0))
	s.attach(s.image, cosign.Bundle, ocitest.New(cosign.Bundle, stranger.Envelope(record(s.image, time.Hour))), at(0))
	s.tag(s.image, stranger.EnvelopeLayer(record(s.image, time.Hour)))
	s.refused("none of 2 is one, and one does not count: it is signed by none of them", "1")
	s.attest(s.image, record(s.image, time.Hour))
	s.refused("needs a signature by one of its keys", "1")
	s.accompany(s.image)
	s.served("1", s.image)
	s.attach(s.image, cosign.Bundle, ocitest.New(cosign.Bundle, stranger.Envelope(record(s.image, time.Minute, "CRITICAL"))), at(0))
	s.worse()
	s.served("1") // what a stranger says does not count
	s.tag(s.image, s.key.EnvelopeLayer(record(s.image, 30*time.Minute, "CRITICAL")), stranger.EnvelopeLayer(record(s.image, time.Minute)))
	s.worse()
	s.refused("1 CRITICAL", "1")
}

// TestW182_IndexesAndPlatforms: results of a manifest itself decide. An index without any needs
// those of all its platforms, a platform without any that of an index.
func TestW182_IndexesAndPlatforms(t *testing.T) {
	s := newScanned(t, nil)
	one, two := s.bench.image("app", "one"), s.bench.image("app", "two")
	other := s.pushed("/v2/app/manifests/2", two)
	provenance := ocitest.New(cosign.InToto, []byte(`{}`))
	s.PutBlob(s.repo("app"), provenance.Bytes)
	attestation := ocitest.Manifest(ocitest.ConfigBy("one"), provenance) // as of BuildKit
	s.pushed("/v2/app/manifests/"+attestation.Digest.String(), string(attestation.Bytes))
	both := s.pushed("/v2/app/manifests/both", index(one, two, string(attestation.Bytes)))

	s.attest(s.image, record(s.image, 3*time.Hour))
	s.served("1", s.image)
	s.refused(other+": the image needs the result of a scan: it has none", "both", both)
	s.refused("it has none", "2")
	s.attest(other, record(other, 2*time.Hour, "CRITICAL"))
	s.refused(other+": its scan", "both")
	s.refused("1 CRITICAL", "2")
	s.attest(other, record(other, time.Hour))
	s.served("both", both, "1", "2", "all")

	s.attest(both, record(both, time.Minute, "HIGH"))
	s.worse()
	s.refused("1 HIGH", "both")
	s.served("1", "2", "all") // by results of their own
	third := s.pushed("/v2/app/manifests/3", s.bench.image("app", "three"))
	fourth := s.bench.image("app", "four")
	alone := s.pushed("/v2/app/manifests/4", fourth)
	s.pushed("/v2/app/manifests/old", index(s.bench.image("app", "three"), fourth))
	s.refused("it has none", "3", third, "4", alone, "old")
	clean, bad := s.pushed("/v2/app/manifests/clean", index(fourth, one)), s.pushed("/v2/app/manifests/bad", index(fourth, two))
	s.attest(clean, record(clean, time.Hour))
	s.served("4", alone, "clean")
	s.attest(bad, record(bad, time.Minute, "HIGH"))
	s.worse()
	s.refused("1 HIGH", "4", alone, "bad")
	s.served("clean")
}

// TestW183_NoResultHidesAnother that is newer and worse, and none counts that cannot be.
func TestW183_NoResultHidesAnother(t *testing.T) {
	s := newScanned(t, nil)
	s.attest(s.index, cosigntest.Attestation(scan.Predicate, []byte(`{"scanner": {"result": {"issues": []}}, "metadata": {"scanFinishedOn": "`+at(time.Hour)+`"}}`), oci.Digest(s.index)))
	s.refused("neither a report of Trivy or Grype", "all")
	s.attest(s.image, record(s.image, -time.Hour))
	s.refused("ended in the future", "1")
	s.attest(s.image, record(s.index, time.Hour))
	s.refused("none of 2 is one", "1")
	s.attach(s.image, cosign.Bundle, ocitest.New(cosign.Bundle, s.key.Envelope(record(s.image, time.Hour))), at(10*time.Hour))
	s.refused("made before the scan ended", "1")

	s = newScanned(t, nil)
	s.attest(s.image, record(s.image, time.Hour, "HIGH"))
	for _, created := range []string{"", "soon", at(-time.Hour)} { // a clean one that is made to look younger
		s.attach(s.image, cosign.Bundle, ocitest.New(cosign.Bundle, s.key.Envelope(record(s.image, 2*time.Hour))), created)
	}
	s.tag(s.image, s.key.EnvelopeLayer(record(s.image, 2*time.Hour)))
	s.refused("1 HIGH", "1")
	s.attest(s.image, record(s.image, 30*time.Minute))
	s.served("1")
	long := append(record(s.image, time.Minute, "HIGH"), make([]byte, scan.MaxResult)...)
	s.attach(s.image, scan.SARIF, ocitest.New(scan.SARIF, long), at(0))
	s.worse()
	s.refused("not all results of its scans can be read: one has more than", "1")

	s = newScanned(t, nil)
	s.attest(s.image, record(s.image, time.Hour))
	worst := s.key.Envelope(record(s.image, time.Minute, "HIGH"))
	s.attach(s.image, cosign.Bundle, ocitest.New(cosign.Bundle, worst), at(0))
	s.refused("1 HIGH", "1")
	flip(t, s.bench, string(worst))
	s.refused("not all results of its scans can be read: the stored bytes of one are lost", "1")

	s = newScanned(t, nil)
	s.attest(s.image, record(s.image, time.Hour))
	subject, empty := ocitest.New(oci.MediaTypeImageManifest, []byte(s.bench.image("app", "one"))).Descriptor, ocitest.Empty()
	for i := range 101 { // all of which may be newer
		annotations := map[string]string{"n": strconv.Itoa(i)}
		s.pushed("/v2/app/manifests/n"+strconv.Itoa(i), string(ocitest.Extra{Subject: &subject, ArtifactType: scan.SARIF, Annotations: annotations}.Manifest(empty, empty).Bytes))
	}
	s.refused("it has more than 100 referrers that may be newer", "1")
}
