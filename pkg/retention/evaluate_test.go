package retention_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// evaluated is content with what a policy says of it.
type evaluated struct {
	retention.Content
	retention.Result
	policy retention.Policy
	at     retention.Moment
}

func (e evaluated) manifest(d oci.Digest) (retention.Verdict, bool) {
	for i, m := range e.Content.Manifests {
		if m.Digest == d {
			return e.Result.Manifests[i], true
		}
	}
	return retention.Verdict{}, false
}

func digest(i int) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(strconv.Itoa(i))) }

// anyContent draws a repository: indexes in indexes, companions of companions, also in
// circles, tags of all kinds, blobs that are shared.
func anyContent(t *dice.T) retention.Content {
	n := rapid.IntRange(1, 12).Draw(t.T, "manifests")
	some := func(what string, most int) []int {
		return rapid.SliceOfN(rapid.IntRange(0, n), 0, most).Draw(t.T, what) // n is not here
	}
	ago := func(what string) time.Time {
		return now.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t.T, what)) * day)
	}
	c := retention.Content{BlobSizes: []int64{1, 10, 100, 1000}}
	for i := range n {
		m := retention.Manifest{Digest: digest(i), Size: 10000, PushedAt: ago("pushed")}
		if rapid.Bool().Draw(t.T, "was pulled") {
			m.PulledAt = ago("pulled")
		}
		for _, child := range some("children", 2) {
			if child > i { // an index is made after what it lists
				m.Children = append(m.Children, digest(child))
			}
		}
		if s := some("subject", 1); len(s) > 0 && s[0] != i && rapid.Bool().Draw(t.T, "accompanies") {
			m.Subject = digest(s[0])
		}
		m.Blobs = rapid.SliceOfNDistinct(rapid.Int32Range(0, 3), 0, 3, rapid.ID[int32]).Draw(t.T, "blobs")
		c.Manifests = append(c.Manifests, m)
	}
	names := []string{"latest", "1.0.0", "1.0.1", "1.1.0", "v2.0.0", "2.0.0-RC1", "2.0.0-SNAPSHOT", "2.0.0-alpine", "main", "release-1"}
	for i := range n + 1 {
		names = append(names, "sha256-"+digest(i).Hex()+".sig")
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, len(names), rapid.ID[string]).Draw(t.T, "tags") {
		tag := retention.Tag{Name: name, Digest: digest(rapid.IntRange(0, n-1).Draw(t.T, "of"))}
		if rapid.Bool().Draw(t.T, "was pulled") {
			tag.PulledAt = ago("pulled")
		}
		c.Tags = append(c.Tags, tag)
	}
	if rapid.Bool().Draw(t.T, "protects") {
		c.TagRules = tagrule.Rules{{Slug: "protects", NoDelete: true, Tags: []string{rapid.SampledFrom([]string{"latest", "1.*", "*"}).Draw(t.T, "protected")}}}
	}
	return c
}

func anyRule(t *dice.T, name string) retention.Rule {
	r := retention.Rule{Name: name, Action: rapid.SampledFrom([]retention.Action{retention.Keep, retention.Delete}).Draw(t.T, "action")}
	period := func(what string) time.Duration {
		return time.Duration(rapid.SampledFrom([]int{0, 0, 0, 10, 30}).Draw(t.T, what)) * day
	}
	r.OlderThan, r.YoungerThan, r.PulledWithin, r.NotPulledFor = period("older"), period("younger"), period("pulled"), period("not pulled")
	r.Newest = rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t.T, "newest")
	if r.Untagged = rapid.Bool().Draw(t.T, "untagged"); r.Untagged {
		return r
	}
	r.Tags = rapid.SampledFrom([][]string{nil, {"*"}, {"1.*", "latest"}}).Draw(t.T, "tags")
	r.Classes = rapid.SampledFrom([][]tagrule.Class{nil, {tagrule.Release}, {tagrule.Prerelease, tagrule.Snapshot}}).Draw(t.T, "classes")
	r.Variants = rapid.SampledFrom([][]string{nil, {"none"}, {"alp*"}}).Draw(t.T, "variants")
	r.Released = rapid.Bool().Draw(t.T, "released")
	if rapid.Bool().Draw(t.T, "window") {
		number := rapid.IntRange(retention.All, 2)
		r.Versions = &retention.Window{Majors: number.Draw(t.T, "majors"), Minors: number.Draw(t.T, "minors"), Patches: 1}
	}
	return r
}

func anyEvaluation(t *dice.T) evaluated {
	e := evaluated{Content: anyContent(t), at: retention.Moment{Now: now, PullsSince: now.Add(-40 * day), Slack: time.Hour}}
	e.policy.MayDeleteProtected = rapid.Bool().Draw(t.T, "may delete protected")
	for i := range rapid.IntRange(1, 4).Draw(t.T, "rules") {
		e.policy.Rules = append(e.policy.Rules, anyRule(t, strconv.Itoa(i)))
	}
	if field, err := e.policy.Check(); err != nil {
		t.Fatalf("%s: %v", field, err)
	}
	e.Result = e.policy.Evaluate(e.Content, e.at)
	return e
}

func TestW104_WhatStaysIsWhole(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		e := anyEvaluation(t)
		for i, m := range e.Content.Manifests {
			if e.Result.Manifests[i].Goes {
				continue
			}
			for _, child := range m.Children {
				if v, here := e.manifest(child); here && v.Goes {
					t.Errorf("%s goes, below %s, which stays", child, m.Digest)
				}
			}
			for j, other := range e.Content.Manifests {
				if other.Subject == m.Digest && e.Result.Manifests[j].Goes {
					t.Errorf("%s goes, whose subject %s stays", other.Digest, m.Digest)
				}
			}
		}
		for i, tag := range e.Content.Tags {
			v := e.Result.Tags[i]
			of, _ := e.manifest(tag.Digest)
			if of.Goes && !v.Goes {
				t.Errorf("tag %s stays (%+v), and its manifest goes (%+v)", tag.Name, v, of)
			}
			if subject := tagrule.SubjectOf(tag.Name); subject != "" {
				if s, here := e.manifest(subject); here && !s.Goes && of.Goes {
					t.Errorf("%s goes, which accompanies %s", tag.Name, subject)
				}
			}
		}
	})
}

func TestW105_WhatATagRuleProtectsStays(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		e := anyEvaluation(t)
		for i, tag := range e.Content.Tags {
			by, protected := e.TagRules.Selecting(tag.Name)
			v := e.Result.Tags[i]
			if protected && v.Goes && !e.policy.MayDeleteProtected {
				t.Errorf("tag %s goes, which %s protects", tag.Name, by.Slug)
			}
			if v.Reason == retention.ByTagRule && (v.TagRule != "protects" || e.policy.MayDeleteProtected) {
				t.Errorf("tag %s: %+v", tag.Name, v)
			}
		}
	})
}

func TestW106_EveryVerdictNamesItsRule(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		e := anyEvaluation(t)
		action := map[string]retention.Action{}
		for _, r := range e.policy.Rules {
			action[r.Name] = r.Action
		}
		for _, v := range slices.Concat(e.Result.Tags, e.Result.Manifests) {
			if v.Goes && action[v.Rule] != retention.Delete {
				t.Errorf("%+v goes by no rule that deletes", v)
			}
			if v.Reason == retention.ByRule && v.Goes != (action[v.Rule] == retention.Delete) {
				t.Errorf("%+v by a rule to %s", v, action[v.Rule])
			}
			if v.Reason == "" || slices.Contains([]retention.Reason{retention.ByTag, retention.ByIndex, retention.BySubject}, v.Reason) != (v.Via != "" && v.Reason != retention.ByCompanion) {
				t.Errorf("%+v does not say why", v)
			}
		}
	})
}

func TestW107_DeletionsAreWhatGoesParentsFirst(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		e := anyEvaluation(t)
		gone := map[oci.Digest]bool{}
		untagged := map[string]bool{}
		var bytes int64
		for _, d := range e.Deletions {
			bytes += d.Bytes
			if d.Tag != "" {
				untagged[d.Tag] = true
				continue
			}
			for i, m := range e.Content.Manifests {
				if slices.Contains(m.Children, d.Digest) && !gone[m.Digest] {
					t.Errorf("%s goes before the index %s (%t)", d.Digest, m.Digest, e.Result.Manifests[i].Goes)
				}
			}
			if gone[d.Digest] {
				t.Errorf("%s goes twice", d.Digest)
			}
			gone[d.Digest] = true
			for _, tag := range d.Tags {
				untagged[tag] = true
			}
		}
		named := map[int32]bool{}
		var want int64
		for i, m := range e.Content.Manifests {
			if gone[m.Digest] != e.Result.Manifests[i].Goes {
				t.Errorf("%s goes: %t, the verdict is %+v", m.Digest, gone[m.Digest], e.Result.Manifests[i])
			}
			if gone[m.Digest] {
				want += m.Size
				continue
			}
			for _, blob := range m.Blobs {
				named[blob] = true
			}
		}
		for blob, size := range e.BlobSizes {
			there := slices.ContainsFunc(e.Content.Manifests, func(m retention.Manifest) bool { return slices.Contains(m.Blobs, int32(blob)) })
			if there && !named[int32(blob)] {
				want += size
			}
		}
		if bytes != want || e.Bytes != want {
			t.Errorf("the deletions have %d bytes and the result %d, want %d", bytes, e.Bytes, want)
		}
		for i, tag := range e.Content.Tags {
			if untagged[tag.Name] != e.Result.Tags[i].Goes {
				t.Errorf("tag %s goes: %t, the verdict is %+v", tag.Name, untagged[tag.Name], e.Result.Tags[i])
			}
		}
	})
}

// TestW107_WhatBelongsTogetherGoesTogether: a run may end between two groups, and nothing
// is left then that only what went leads to.
func TestW107_WhatBelongsTogetherGoesTogether(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		e := anyEvaluation(t)
		manifests := map[oci.Digest]retention.Manifest{}
		for _, m := range e.Content.Manifests {
			manifests[m.Digest] = m
		}
		leads := func(to retention.Deletion) func(m retention.Manifest) bool {
			return func(m retention.Manifest) bool {
				return slices.Contains(m.Children, to.Digest) || manifests[to.Digest].Subject == m.Digest ||
					slices.ContainsFunc(to.Tags, func(tag string) bool { return tagrule.SubjectOf(tag) == m.Digest })
			}
		}
		var group []retention.Manifest
		left := 0
		for _, d := range e.Deletions {
			if left == 0 {
				if group, left = nil, d.Group; d.Group == 0 {
					t.Errorf("%s begins no group", d.Digest)
				}
			} else if d.Group != 0 || !slices.ContainsFunc(group, leads(d)) {
				t.Errorf("%s does not belong to %v", d.Digest, group)
			}
			group, left = append(group, manifests[d.Digest]), left-1
		}
		if left != 0 {
			t.Errorf("%d of the last group are missing", left)
		}
	})
}

// TestW124_WhatADeletionRestsOn is also that a subject is not there, and pulls, whichever of
// several rules asks for them.
func TestW124_WhatADeletionRestsOn(t *testing.T) {
	referrer := retention.Manifest{Digest: digest(1), Subject: digest(2)}
	tagged := retention.Manifest{Digest: digest(3), PulledAt: now.Add(-90 * day)}
	p := retention.Policy{Rules: []retention.Rule{
		{Name: "temporary", Action: retention.Delete, Selector: retention.Selector{Tags: []string{"tmp"}}},
		{Name: "unused", Action: retention.Delete, Conditions: retention.Conditions{NotPulledFor: 30 * day}},
		{Name: "untagged", Action: retention.Delete, Selector: retention.Selector{Untagged: true}},
	}}
	r := p.Evaluate(retention.Content{
		Manifests: []retention.Manifest{referrer, tagged}, Tags: []retention.Tag{{Name: "tmp", Digest: tagged.Digest}, {Name: "v1", Digest: tagged.Digest}},
	}, retention.Moment{Now: now, PullsSince: now.Add(-100 * day)})
	if len(r.Deletions) != 2 {
		t.Fatalf("%+v", r.Deletions)
	}
	bases := p.Bases(r)
	for _, d := range r.Deletions {
		b := bases.Of(d)
		if d.Digest == referrer.Digest && !slices.Equal(b.Gone, []oci.Digest{referrer.Subject}) {
			t.Errorf("the referrer rests on the absence of %v", b.Gone)
		}
		if d.Digest == tagged.Digest && !slices.Equal(b.Pulled, []oci.Digest{tagged.Digest}) {
			t.Errorf("the image rests on the pulls of %v", b.Pulled)
		}
	}
}

// TestW108_NothingPulledWithinItsPeriodGoes plays policies whose first rules keep what was
// pulled, whatever comes after them.
func TestW108_NothingPulledWithinItsPeriodGoes(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		e := anyEvaluation(t)
		pulled := retention.Conditions{PulledWithin: 20 * day}
		e.policy.Rules = append([]retention.Rule{
			{Name: "tags", Action: retention.Keep, Conditions: pulled},
			{Name: "untagged", Action: retention.Keep, Selector: retention.Selector{Untagged: true}, Conditions: pulled},
		}, e.policy.Rules...)
		for _, since := range []time.Time{{}, now.Add(-20 * day), now.Add(-21 * day)} {
			e.at.PullsSince = since
			e.Result = e.policy.Evaluate(e.Content, e.at)
			for i, m := range e.Content.Manifests {
				if e.Result.Manifests[i].Goes && m.PulledAt.After(now.Add(-20*day-time.Hour)) {
					t.Errorf("%s goes, which was pulled at %s", m.Digest, m.PulledAt)
				}
			}
			if !since.Equal(now.Add(-21*day)) && len(e.Deletions) > 0 {
				t.Errorf("%d deletions with an accounting since %s", len(e.Deletions), since)
			}
		}
	})
}

func TestW109_TheOrderOfContentDoesNotMatter(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		e := anyEvaluation(t)
		turned := e.Content
		turned.Tags = rapid.Permutation(e.Content.Tags).Draw(t.T, "tags")
		turned.Manifests = rapid.Permutation(e.Content.Manifests).Draw(t.T, "manifests")
		set := func(ds []retention.Deletion) string {
			var all []string
			for _, d := range ds {
				all = append(all, d.Tag+" "+string(d.Digest))
			}
			slices.Sort(all)
			return strings.Join(all, "\n")
		}
		other := e.policy.Evaluate(turned, e.at)
		if set(other.Deletions) != set(e.Deletions) || other.Bytes != e.Bytes {
			t.Errorf("in another order\n%s\ngoes, not\n%s", set(other.Deletions), set(e.Deletions))
		}
	})
}
