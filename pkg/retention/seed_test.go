package retention_test

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/retention/retentiontest"
)

const day = 24 * time.Hour

// library is a repository of 500 tags over 9 majors. Each tag has an index of two images.
type library struct {
	retention.Content
}

func (l *library) index(name string) (oci.Digest, []oci.Digest) {
	d := func(what string) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(name+what)) }
	return d(""), []oci.Digest{d(" amd64"), d(" arm64")}
}

func (l *library) add(tags ...string) {
	pushed := now.AddDate(-1, 0, 0)
	for _, tag := range tags {
		index, children := l.index(tag)
		l.Tags = append(l.Tags, retention.Tag{Name: tag, Digest: index})
		l.Manifests = append(l.Manifests, retention.Manifest{Digest: index, PushedAt: pushed, Children: children, Size: 1})
		for _, child := range children {
			l.Manifests = append(l.Manifests, retention.Manifest{Digest: child, PushedAt: pushed, Size: 10})
		}
	}
}

// sign adds cosign's tag of what the tag points to.
func (l *library) sign(tag string) string {
	index, _ := l.index(tag)
	signature := "sha256-" + index.Hex() + ".sig"
	d := oci.DigestOf(oci.SHA256, []byte(signature))
	l.Tags = append(l.Tags, retention.Tag{Name: signature, Digest: d})
	l.Manifests = append(l.Manifests, retention.Manifest{Digest: d, PushedAt: now.AddDate(-1, 0, 0), Size: 100})
	return signature
}

func TestW103_TheSeedsRuleKeepsWhatATableSays(t *testing.T) {
	var l library
	l.add(retentiontest.SeedTags()...)
	signed := map[string]string{} // signature → tag
	for _, tag := range retentiontest.SeedSigned() {
		signed[l.sign(tag)] = tag
	}
	if len(l.Tags) != 500 {
		t.Fatalf("the repository has %d tags", len(l.Tags))
	}
	l.manifest(t, "v1.2.3").PulledAt = now.Add(-2 * day)
	l.tag(t, "v3.1.0-RC2").PulledAt = now.Add(-29 * day)
	l.child(t, "10.0.0-RC10").PulledAt = now.Add(-time.Hour)
	l.child(t, "2.0.0-SNAPSHOT").PulledAt = now.Add(-time.Hour)
	l.manifest(t, "9.1.4").PulledAt = now.Add(-30*day - 59*time.Minute)
	l.manifest(t, "9.1.3").PulledAt = now.Add(-30*day - 61*time.Minute)
	l.manifest(t, "10.0.0-SNAPSHOT").PushedAt = now.Add(-day)
	l.manifest(t, "latest").PulledAt = now
	for signature, tag := range signed {
		if tag == "4.0.0-alpine" {
			l.tag(t, signature).PulledAt = now
			for i := range l.Manifests { // a pull counts for the manifest, too
				if l.Manifests[i].Digest == l.tag(t, signature).Digest {
					l.Manifests[i].PulledAt = now
				}
			}
		}
	}

	want := retentiontest.SeedStays()
	r := retentiontest.SeedRule.Evaluate(l.Content, retention.Moment{Now: now, PullsSince: now.AddDate(0, -2, 0), Slack: time.Hour})
	goes := map[string]bool{}
	for i, v := range r.Tags {
		goes[l.Tags[i].Name] = v.Goes
	}
	var bytes int64
	for i, v := range r.Tags {
		tag := l.Tags[i].Name
		rule, stays := want[tag]
		delete(want, tag)
		subject, companion := signed[tag]
		switch {
		case companion:
			if v.Goes != goes[subject] || v.Reason != retention.BySubject {
				t.Errorf("the signature of %s: %+v", subject, v)
			}
			if v.Goes {
				bytes += 100
			}
		case stays && (v.Goes || v.Rule != rule), !stays && (!v.Goes || v.Rule != "rest"):
			t.Errorf("%s: %+v, want it to stay: %t by %q", tag, v, stays, rule)
		case v.Goes:
			bytes += 21
		}
	}
	for tag := range want {
		t.Errorf("%s of the table is no tag", tag)
	}
	if r.Bytes != bytes {
		t.Errorf("%d bytes go, want %d", r.Bytes, bytes)
	}
}

func (l *library) tag(t *testing.T, name string) *retention.Tag {
	t.Helper()
	for i := range l.Tags {
		if l.Tags[i].Name == name {
			return &l.Tags[i]
		}
	}
	t.Fatalf("no tag %s", name)
	return nil
}

func (l *library) manifest(t *testing.T, name string) *retention.Manifest {
	t.Helper()
	d := l.tag(t, name).Digest
	for i := range l.Manifests {
		if l.Manifests[i].Digest == d {
			return &l.Manifests[i]
		}
	}
	t.Fatalf("no manifest of %s", name)
	return nil
}

// child is the second platform of a tag.
func (l *library) child(t *testing.T, name string) *retention.Manifest {
	t.Helper()
	_, children := l.index(name)
	for i := range l.Manifests {
		if l.Manifests[i].Digest == children[1] {
			return &l.Manifests[i]
		}
	}
	t.Fatalf("no platform of %s", name)
	return nil
}
