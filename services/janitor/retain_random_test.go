package janitor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/services/internal/evaluate"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// pairs are the policies and contents of one check.
const pairs = 5

// TestW129_SimulationAndRunAgree plays random policies on random contents: what the
// evaluation says, which a simulation shows, is what the run deletes, and nothing else.
// BERTH_LONG=1 plays 1,000.
func TestW129_SimulationAndRunAgree(t *testing.T) {
	w := newWorld(t)
	r := w.retainer()
	n := 0
	dice.Check(t, func(d *dice.T) {
		for range pairs {
			n++
			p := &pair{world: w, dice: d, repo: w.repo}
			p.repo.Name = fmt.Sprint("r", n)
			p.fill()
			p.protect(fmt.Sprint("rule", n))
			policy := meta.RetentionPolicy{
				Tenant: w.repo.Tenant, Slug: fmt.Sprint("policy", n), Enforced: true, Repositories: []string{p.repo.Name}, MaxDeletions: 1000, Policy: p.policy(),
			}
			if field, err := policy.Check(); err != nil {
				d.Fatalf("%s: %v", field, err)
			}
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 50).Draw(d.T, "hours later")) * time.Hour)
			made, err := w.Meta.CreateRetentionPolicy(d.Context(), fronttest.By(), policy)
			w.must(err)
			_, err = w.Meta.RunRetentionPolicy(d.Context(), fronttest.By(), w.repo.Tenant, policy.Slug)
			w.must(err)
			tenant, err := evaluate.Open(d.Context(), w.Meta, w.repo.Tenant)
			w.must(err)
			said, err := tenant.Evaluate(d.Context(), made.Policy, p.repo, "main", retention.Moment{Now: w.now})
			w.must(err)
			run := w.retain(r, policy.Slug)
			after, err := w.Meta.RetentionContent(d.Context(), p.repo)
			w.must(err)
			if got, want := names(after, nil), names(said.Content, &said.Result); !slices.Equal(got, want) {
				d.Fatalf("left are\n%q, want\n%q\nof %+v", got, want, made.Rules)
			}
			if run.Refused != 0 || run.Deletions != int64(len(said.Deletions)) || run.Bytes != said.Bytes || run.Protected != said.Protected() {
				d.Fatalf("%+v, want %d deletions, %d bytes, %d protected", run, len(said.Deletions), said.Bytes, said.Protected())
			}
			w.must(w.Meta.DeleteRetentionPolicy(d.Context(), fronttest.By(), w.repo.Tenant, policy.Slug, 0))
		}
	})
	if found := w.findings(); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// names are the tags and manifests of a content; those that do not go, with a result.
func names(c retention.Content, r *retention.Result) []string {
	var all []string
	for i, t := range c.Tags {
		if r == nil || !r.Tags[i].Goes {
			all = append(all, t.Name+" → "+t.Digest.String())
		}
	}
	for i, m := range c.Manifests {
		if r == nil || !r.Manifests[i].Goes {
			all = append(all, m.Digest.String())
		}
	}
	slices.Sort(all)
	return all
}

// pair is a policy and the content that it is played on.
type pair struct {
	*world
	dice   *dice.T
	repo   meta.Repo
	images []ocitest.Content
}

var tagsOfPairs = []string{
	"1.0.0", "1.0.1", "1.1.0", "2.0.0", "2.0.0-rc1", "v3.0.0", "1.0.0-alpine", "1.0.1-alpine", "main-SNAPSHOT", "2.0.0-SNAPSHOT", "latest", "stable",
}

func (p *pair) some(what string, most int, of []string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, most, rapid.ID[string]).Draw(p.dice.T, what)
}

// fill pushes images, indexes and signatures, and lets tags move and go.
func (p *pair) fill() {
	for _, layer := range []string{"{}", "one", "two"} {
		p.PutBlob(p.repo, []byte(layer))
	}
	for i := range rapid.IntRange(1, 8).Draw(p.dice.T, "images") {
		p.now = p.now.Add(time.Duration(rapid.IntRange(0, 20).Draw(p.dice.T, "hours")) * time.Hour)
		extra := ocitest.Extra{Annotations: map[string]string{"n": fmt.Sprint(p.repo.Name, i)}}
		tags := p.some("tags", 2, tagsOfPairs)
		layer := ocitest.Layer([]byte(rapid.SampledFrom([]string{"one", "two"}).Draw(p.dice.T, "layer")))
		m := extra.Manifest(ocitest.Empty(), layer)
		if len(p.images) > 0 {
			other := p.images[rapid.IntRange(0, len(p.images)-1).Draw(p.dice.T, "other")]
			switch rapid.IntRange(0, 4).Draw(p.dice.T, "kind") {
			case 0:
				m = extra.Index(other)
			case 1:
				extra.Subject = &other.Descriptor
				m = extra.Manifest(ocitest.Empty(), layer)
			case 2:
				tags = []string{strings.Replace(other.Digest.String(), ":", "-", 1) + ".sig"}
			}
		}
		p.PutManifest(p.repo, m.Bytes, tags...)
		p.images = append(p.images, m)
	}
	for _, tag := range p.some("deleted", 1, tagsOfPairs) {
		_ = p.Meta.DeleteTag(p.dice.Context(), fronttest.By(), p.repo, tag) // it need not be there
	}
}

// protect makes a tag rule for the repository, or none.
func (p *pair) protect(slug string) {
	tags := p.some("protected", 2, tagsOfPairs)
	if len(tags) == 0 {
		return
	}
	_, err := p.Meta.CreateTagRule(p.dice.Context(), fronttest.By(), meta.TagRule{
		Tenant: p.repo.Tenant, Rule: tagrule.Rule{Slug: slug, Repositories: []string{p.repo.Name}, Tags: tags, NoDelete: true},
	})
	p.must(err)
	p.dice.Cleanup(func() {
		p.must(p.Meta.DeleteTagRule(p.t.Context(), fronttest.By(), p.repo.Tenant, slug, 0))
	})
}

func (p *pair) policy() retention.Policy {
	policy := retention.Policy{MayDeleteProtected: rapid.Bool().Draw(p.dice.T, "may delete protected")}
	number := func(what string) int { return rapid.IntRange(-1, 2).Draw(p.dice.T, what) }
	for i := range rapid.IntRange(1, 4).Draw(p.dice.T, "rules") {
		r := retention.Rule{Name: fmt.Sprint("rule ", i), Action: rapid.SampledFrom([]retention.Action{retention.Keep, retention.Delete}).Draw(p.dice.T, "action")}
		if r.Untagged = rapid.IntRange(0, 3).Draw(p.dice.T, "untagged") == 0; !r.Untagged {
			r.Tags = p.some("selected", 3, []string{"1*", "2*", "v*", "latest", "*SNAPSHOT"})
			r.Classes = rapid.SliceOfNDistinct(rapid.SampledFrom(tagrule.Classes), 0, 2, rapid.ID[tagrule.Class]).Draw(p.dice.T, "classes")
			r.Variants = p.some("variants", 1, []string{"none", "alpine"})
			r.Released = rapid.IntRange(0, 5).Draw(p.dice.T, "released") == 0
			if window := (retention.Window{Majors: number("majors"), Minors: number("minors"), Patches: number("patches")}); window != (retention.Window{}) {
				r.Versions = &window
			}
		}
		r.Newest = rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(p.dice.T, "newest")
		r.OlderThan = time.Duration(rapid.SampledFrom([]int{0, 0, 10, 40}).Draw(p.dice.T, "older")) * time.Hour
		r.YoungerThan = time.Duration(rapid.SampledFrom([]int{0, 0, 0, 30}).Draw(p.dice.T, "younger")) * time.Hour
		policy.Rules = append(policy.Rules, r)
	}
	return policy
}
