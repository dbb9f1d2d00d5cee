package retention_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/retention/retentiontest"
)

// BenchmarkEvaluate_100000Tags has an image of ten layers for each tag. B/op is the bound
// of its memory.
func BenchmarkEvaluate_100000Tags(b *testing.B) {
	const tags, layers = 100_000, 10
	c := retention.Content{BlobSizes: make([]int64, tags)}
	for i := range tags {
		d := oci.DigestOf(oci.SHA256, []byte(fmt.Sprint(i)))
		name := fmt.Sprintf("%d.%d.%d%s", i/10000, i/100%100, i%100, []string{"", "-alpine", "-RC1", "-SNAPSHOT"}[i%4])
		m := retention.Manifest{Digest: d, Size: 1000, PushedAt: now.Add(-time.Duration(i) * time.Minute), PulledAt: now.Add(-time.Duration(i/2) * time.Minute)}
		for layer := range layers {
			m.Blobs = append(m.Blobs, int32(max(0, i-layer)))
		}
		c.BlobSizes[i] = 1 << 20
		c.Tags, c.Manifests = append(c.Tags, retention.Tag{Name: name, Digest: d}), append(c.Manifests, m)
	}
	at := retention.Moment{Now: now, PullsSince: now.AddDate(-1, 0, 0), Slack: time.Hour}
	b.ReportAllocs()
	for b.Loop() {
		if r := retentiontest.SeedRule.Evaluate(c, at); len(r.Deletions) == 0 {
			b.Fatal("nothing goes")
		}
	}
}
