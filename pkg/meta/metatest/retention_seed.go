package metatest

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention/retentiontest"
)

// testRetentionSeed runs the seed's rule on a repository of 500 tags, and compares what is
// left with a table that was written by hand.
func testRetentionSeed(t *testing.T, open Open) {
	t.Run("W136 the seed's rule leaves what a table says", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := content("application/vnd.oci.image.config.v1+json", w.push(r, "config"))
		annotated := func(name string) meta.ManifestPut {
			return w.parsed(ocitest.Extra{Annotations: map[string]string{"of": name}}.Manifest(config))
		}
		images, platforms := map[string]meta.Manifest{}, map[string]meta.Manifest{}
		for _, tag := range retentiontest.SeedTags() {
			if tag == "10.0.0-SNAPSHOT" {
				continue // it is pushed yesterday
			}
			put := annotated(tag)
			if tag == "10.0.0-RC10" || tag == "2.0.0-SNAPSHOT" {
				platforms[tag] = w.put(r, put)
				put = w.index(platforms[tag])
			}
			images[tag] = w.put(r, put, tag)
		}
		signed := map[string]string{}
		for _, tag := range retentiontest.SeedSigned() {
			signature := strings.Replace(images[tag].Digest.String(), ":", "-", 1) + ".sig"
			signed[signature] = tag
			images[signature] = w.put(r, annotated(signature), signature)
		}
		p := w.process()
		var past time.Duration
		pulled := func(ago time.Duration, pulls ...meta.HostedPull) {
			w.Advance(365*24*time.Hour - past - ago)
			past = 365*24*time.Hour - ago
			for i := range pulls {
				pulls[i].Repo, pulls[i].Times = r, 1
			}
			p.flush(pulls...)
		}
		pulled(month+2*time.Hour, meta.HostedPull{Digest: images["9.1.3"].Digest})
		pulled(month+59*time.Minute, meta.HostedPull{Digest: images["9.1.4"].Digest})
		pulled(29*24*time.Hour, meta.HostedPull{Digest: images["v3.1.0-RC2"].Digest, Tag: "v3.1.0-RC2"})
		pulled(2*24*time.Hour, meta.HostedPull{Digest: images["v1.2.3"].Digest})
		pulled(24 * time.Hour)
		images["10.0.0-SNAPSHOT"] = w.put(r, annotated("10.0.0-SNAPSHOT"), "10.0.0-SNAPSHOT")
		var ofSignature string
		for signature, tag := range signed {
			if tag == "4.0.0-alpine" {
				ofSignature = signature
			}
		}
		pulled(time.Hour,
			meta.HostedPull{Digest: platforms["10.0.0-RC10"].Digest}, meta.HostedPull{Digest: platforms["2.0.0-SNAPSHOT"].Digest},
			meta.HostedPull{Digest: images[ofSignature].Digest, Tag: ofSignature}, meta.HostedPull{Digest: images["latest"].Digest, Tag: "latest"})
		policy := w.retentionPolicy("old", retentiontest.SeedRule.Rules...)
		policy.Enforced = true
		w.addRetention(policy)
		w.Advance(meta.RetentionDelay) // it is a year after the first push
		run := w.mustClaim()
		w.Advance(time.Second)
		p.flush()
		p.flush()
		for _, d := range run.evaluate(r) {
			w.must(w.Store.DeleteEvaluated(t.Context(), d))
		}

		stays := retentiontest.SeedStays()
		for tag, image := range images {
			of := tag
			if subject, companion := signed[tag]; companion {
				of = subject
			}
			_, want := stays[of]
			if got := w.tagged(r, tag); (got == image.Digest) != want {
				t.Errorf("%s is there: %t, want %t", tag, got != "", want)
			}
		}
		if len(images) != 500 {
			t.Errorf("%d tags", len(images))
		}
		w.consistent()
	})
}
