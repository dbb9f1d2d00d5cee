package metatest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
)

// process answers pulls, and writes them in batches.
type process struct {
	world
	id     uuid.UUID
	number int64
}

func (w world) process() *process {
	w.t.Helper()
	p := &process{world: w, id: uuid.New()}
	w.must(w.Store.BeginPulls(w.t.Context(), p.id))
	return p
}

// flush writes a whole batch.
func (p *process) flush(pulls ...meta.HostedPull) meta.PullBatch {
	p.t.Helper()
	p.number++
	b := meta.PullBatch{Recorder: p.id, Number: p.number, Pulls: pulls, Whole: true}
	p.must(p.Store.RecordHostedPulls(p.t.Context(), b))
	return b
}

func (w world) contentOf(r meta.Repo) retention.Content {
	w.t.Helper()
	c, err := w.Store.RetentionContent(w.t.Context(), r)
	w.must(err)
	return c
}

func (w world) manifestOf(r meta.Repo, d oci.Digest) retention.Manifest {
	w.t.Helper()
	c := w.contentOf(r)
	i := slices.IndexFunc(c.Manifests, func(m retention.Manifest) bool { return m.Digest == d })
	if i < 0 {
		w.t.Fatalf("%s is not in the content", d)
	}
	return c.Manifests[i]
}

func (w world) tagOf(r meta.Repo, name string) retention.Tag {
	w.t.Helper()
	c := w.contentOf(r)
	i := slices.IndexFunc(c.Tags, func(t retention.Tag) bool { return t.Name == name })
	if i < 0 {
		w.t.Fatalf("tag %s is not in the content", name)
	}
	return c.Tags[i]
}

func (w world) accounting() meta.PullAccounting {
	w.t.Helper()
	a, err := w.Store.FindPullAccounting(w.t.Context())
	w.must(err)
	return a
}

// goes are the tags that a policy deletes which keeps what was pulled within a month.
func (w world) goes(r meta.Repo) []string {
	w.t.Helper()
	p := retention.Policy{Rules: []retention.Rule{{Name: "old", Action: retention.Delete, Conditions: retention.Conditions{NotPulledFor: month}}}}
	c := w.contentOf(r)
	var gone []string
	for i, v := range p.Evaluate(c, w.accounting().Moment(w.Now())).Tags {
		if v.Goes {
			gone = append(gone, c.Tags[i].Name)
		}
	}
	slices.Sort(gone)
	return gone
}

const month = 30 * 24 * time.Hour

func testHostedPulls(t *testing.T, open Open) {
	t.Run("W110 knows when and how often tags and manifests were pulled", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first, second := w.put(r, w.image(nil, w.push(r, "a")), "v1", "v2"), w.put(r, w.image(nil, w.push(r, "b")), "v3")
		p := w.process()
		w.Advance(time.Hour)
		p.flush(
			meta.HostedPull{Repo: r, Digest: first.Digest, Tag: "v1", Times: 2},
			meta.HostedPull{Repo: r, Digest: first.Digest, Tag: "v2", Times: 1},
			meta.HostedPull{Repo: r, Digest: first.Digest, Times: 4},
			meta.HostedPull{Repo: r, Digest: digestOf("gone"), Tag: "gone", Times: 1},
			meta.HostedPull{Repo: w.repo("gone"), Digest: first.Digest, Tag: "v1", Times: 1},
		)
		at := w.Now()
		w.Advance(time.Hour)
		again := p.flush(meta.HostedPull{Repo: r, Digest: first.Digest, Tag: "v1", Times: 10})
		w.must(w.Store.RecordHostedPulls(t.Context(), again)) // its answer was lost
		if m := w.manifestOf(r, first.Digest); m.Pulls != 17 || !m.PulledAt.Equal(w.Now()) {
			t.Errorf("%+v", m)
		}
		if m := w.manifestOf(r, second.Digest); m.Pulls != 0 || !m.PulledAt.IsZero() {
			t.Errorf("what was not pulled: %+v", m)
		}
		if v1, v2, v3 := w.tagOf(r, "v1"), w.tagOf(r, "v2"), w.tagOf(r, "v3"); v1.Pulls != 12 || !v1.PulledAt.Equal(w.Now()) || v2.Pulls != 1 || !v2.PulledAt.Equal(at) || v3.Pulls != 0 {
			t.Errorf("%+v, %+v, %+v", v1, v2, v3)
		}
		w.consistent()
	})
	t.Run("W111 has what leads to what, since when, and its size", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		layer := w.push(r, "the layer")
		child := w.put(r, w.image(nil, w.push(r, "config"), layer))
		index := w.put(r, w.index(child), "v1")
		pushed := w.Now()
		signature := w.put(r, w.artifact(descriptor(index), "application/sig", nil, w.push(r, "sig")))
		w.Advance(time.Hour)
		w.put(r, w.image(nil, w.push(r, "other"), layer), "v1")
		m, c, s, v1 := w.manifestOf(r, index.Digest), w.manifestOf(r, child.Digest), w.manifestOf(r, signature.Digest), w.tagOf(r, "v1")
		if len(m.Children) != 1 || m.Children[0] != child.Digest || !m.UntaggedAt.Equal(w.Now()) || !m.PushedAt.Equal(pushed) || m.Size != int64(len(index.Payload)) {
			t.Errorf("the index: %+v", m)
		}
		if s.Subject != index.Digest || !c.UntaggedAt.IsZero() || len(c.Blobs) != 2 || !v1.MovedAt.Equal(w.Now()) {
			t.Errorf("the signature %+v, the child %+v, the tag %+v", s, c, v1)
		}
		all := w.contentOf(r)
		if len(all.BlobSizes) != 4 || !slices.Contains(c.Blobs, int32(slices.Index(all.BlobSizes, layer.Size))) {
			t.Errorf("blobs of %v bytes", all.BlobSizes)
		}
		_, err := w.Store.RetentionContent(t.Context(), w.repo("none"))
		w.refused(err, fault.NotFound, fault.NameUnknown)
	})
	t.Run("W112 a record goes with what it is about, and stays with a repository that is restored", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "a"))
		d := w.put(r, image, "v1", "v2").Digest
		p := w.process()
		p.flush(meta.HostedPull{Repo: r, Digest: d, Tag: "v1", Times: 1})
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		w.put(r, image, "v1")
		if v1, m := w.tagOf(r, "v1"), w.manifestOf(r, d); v1.Pulls != 0 || m.Pulls != 1 {
			t.Errorf("after the tag was deleted: %+v, %+v", v1, m)
		}
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		p.flush(meta.HostedPull{Repo: r, Digest: d, Tag: "v1", Times: 1}) // was answered before
		w.must(w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, By: cause()}))
		if v1, m := w.tagOf(r, "v1"), w.manifestOf(r, d); v1.Pulls != 1 || m.Pulls != 2 {
			t.Errorf("after the repository was restored: %+v, %+v", v1, m)
		}
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: d, By: cause()}))
		w.put(r, image, "v1")
		if m := w.manifestOf(r, d); m.Pulls != 0 {
			t.Errorf("after the manifest was deleted: %+v", m)
		}
		w.consistent()
	})
	t.Run("W113 what has no record counts as pulled when the accounting began, a day after the upgrade", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.put(r, w.image(nil, w.push(r, "a")), "v1")
		w.Advance(10 * month) // of a version without accounting
		if a := w.accounting(); !a.Since.IsZero() || len(w.goes(r)) != 0 {
			t.Errorf("%+v without a process that records", a)
		}
		p := w.process()
		begins := w.Now().Add(meta.PullsBegin)
		w.Advance(meta.PullsBegin + month)
		p.flush()
		p.flush()
		if got := w.goes(r); len(got) != 0 {
			t.Errorf("%q go within the slack", got)
		}
		w.Advance(meta.PullSlack)
		p.flush()
		p.flush()
		if a := w.accounting(); !a.Since.Equal(begins) || !slices.Equal(w.goes(r), []string{"v1"}) {
			t.Errorf("%+v, want since %s", a, begins)
		}
	})
	t.Run("W114 R10 a kill between a pull and its batch deletes nothing that was pulled within its period", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.put(r, w.image(nil, w.push(r, "a")), "v1")
		killed, other := w.process(), w.process()
		w.Advance(meta.PullsBegin + 2*month)
		flush := func(all ...*process) {
			for range 2 {
				for _, p := range all {
					p.flush()
				}
			}
		}
		flush(killed, other)
		if got := w.goes(r); !slices.Equal(got, []string{"v1"}) {
			t.Fatalf("%q go before", got)
		}
		w.Advance(time.Second) // in which killed answers a pull of v1, and is killed
		pulled := w.Now()
		for w.Now().Before(pulled.Add(month + meta.PullSlack)) {
			w.Advance(10 * time.Minute)
			flush(other)
			_, err := w.Store.EndLostRecorders(t.Context(), 1000)
			w.must(err)
			if got := w.goes(r); len(got) != 0 {
				t.Fatalf("%q go %s after they were pulled", got, w.Now().Sub(pulled))
			}
			if w.Now().After(pulled.Add(4 * time.Hour)) {
				w.Advance(6 * time.Hour) // other flushes before it could count as lost
				flush(other)
			}
		}
		w.Advance(12 * time.Hour)
		flush(other)
		if got := w.goes(r); !slices.Equal(got, []string{"v1"}) {
			t.Errorf("%q go %s after they were pulled", got, w.Now().Sub(pulled))
		}
	})
	t.Run("W115 a process that ends in order, or comes back, loses nothing; one that lost pulls says so", func(t *testing.T) {
		w := newWorld(t, open)
		p, other := w.process(), w.process()
		w.Advance(meta.PullsBegin + time.Hour)
		since := w.accounting().Since
		p.flush()
		w.must(w.Store.EndPulls(t.Context(), p.id))
		other.flush()
		other.flush()
		if a := w.accounting(); !a.Since.Equal(since) || !a.KnownAt.Equal(w.Now()) {
			t.Errorf("%+v after a process ended, want since %s", a, since)
		}
		w.Advance(meta.RecorderLost + time.Second) // other is stopped for so long
		n, err := w.Store.EndLostRecorders(t.Context(), 1000)
		w.must(err)
		if a := w.accounting(); n != 1 || !a.Since.Equal(w.Now()) {
			t.Errorf("%d ended, %+v", n, a)
		}
		w.Advance(time.Minute)
		other.flush() // and continues
		if a := w.accounting(); !a.KnownAt.Before(w.Now()) {
			t.Errorf("%+v: its pulls until now cannot be known", a)
		}
		other.flush()
		other.number++
		w.must(w.Store.RecordHostedPulls(t.Context(), meta.PullBatch{Recorder: other.id, Number: other.number, Whole: true, Lost: true}))
		if a := w.accounting(); !a.Since.Equal(w.Now()) || !a.KnownAt.Equal(w.Now()) {
			t.Errorf("%+v after pulls were lost", a)
		}
	})
	t.Run("W119 batches of many processes against pushes and deletes", func(t *testing.T) { racePulls(newWorld(t, open)) })
	t.Run("W117 J1 the accounting begins again where a database was restored to a moment before its last start", func(t *testing.T) {
		w := newWorld(t, open)
		p := w.process()
		w.Advance(meta.PullsBegin + time.Hour)
		w.must(w.Store.EndPulls(t.Context(), p.id))
		_, err := w.Store.ClaimIdentity(t.Context(), identity.Identity{Deployment: uuid.New(), Generation: 5})
		w.must(err)
		since := w.accounting().Since
		for _, atLeast := range []int64{0, 5, 6} { // starts; each raises it
			_, err := w.Store.RaiseIdentity(t.Context(), atLeast)
			w.must(err)
		}
		if a := w.accounting(); !a.Since.Equal(since) {
			t.Errorf("%+v after a start, want since %s", a, since)
		}
		_, err = w.Store.RaiseIdentity(t.Context(), 9) // of the blob store, which was not restored
		w.must(err)
		if a := w.accounting(); !a.Since.Equal(w.Now()) {
			t.Errorf("%+v after a restore", a)
		}
	})
}
