package pullrules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/policy"
)

// judgeTimeout ends the computation of a verdict, which no caller ends.
const judgeTimeout = 30 * time.Second

// key is what a verdict is about. The same content elsewhere has its own companions.
type key struct {
	rule    string
	version int64             // of all rules of the tenant
	own     meta.Repo         // that the client names
	store   tenant.RegistryID // of the member
	name    string            // there
	digest  oci.Digest
}

// verdict is what a rule says of a manifest.
type verdict struct {
	lacking string    // empty: the rule is met
	until   time.Time // the verdict ends then; zero: by its life alone
}

// judgement is one rule about one manifest.
type judgement struct {
	gate   *Gate
	rule   *meta.PullRule
	pull   Pull
	answer Answer
}

func (j judgement) key() key {
	return key{j.rule.Slug, j.pull.Rules, j.pull.Repo, j.answer.Repo.Registry, j.answer.Repo.Name, j.answer.Manifest.Digest}
}

// judge returns the verdict that is known, or computes it: once for all concurrent callers.
func (g *Gate) judge(ctx context.Context, j judgement) (verdict, error) {
	k := j.key()
	if v, ok := g.verdicts.Find(k); ok {
		return v, nil
	}
	shared := context.WithoutCancel(ctx)
	done := g.flights.DoChan(fmt.Sprintf("%#v", k), func() (any, error) {
		if v, ok := g.verdicts.Find(k); ok {
			return v, nil
		}
		ctx, cancel := context.WithTimeout(shared, judgeTimeout)
		defer cancel()
		v, err := j.decide(ctx)
		if err == nil {
			g.remember(j, k, v)
		}
		return v, err
	})
	select {
	case <-ctx.Done():
		return verdict{}, fault.From(ctx.Err())
	case r := <-done:
		if r.Err != nil {
			return verdict{}, r.Err
		}
		return r.Val.(verdict), nil
	}
}

func (g *Gate) remember(j judgement, k key, v verdict) {
	life := goodLife
	switch {
	case v.lacking == "":
	case j.rule.Enforced:
		life = badLife
	default:
		life = observedLife
		g.Log.Info("a pull rule that observes would refuse a pull", slog.Int64("tenant", int64(j.pull.Repo.Tenant)), slog.String("rule", j.rule.Slug),
			slog.String("registry", j.pull.Registry), slog.String("repository", j.pull.Repo.Name),
			slog.String("digest", j.answer.Manifest.Digest.String()), slog.String("why", v.lacking))
	}
	if !v.until.IsZero() {
		life = min(life, v.until.Sub(g.Now()))
	}
	g.verdicts.Put(k, v, life)
}

// observe counts what a rule says that refuses nothing. No pull waits for it.
func (g *Gate) observe(ctx context.Context, j judgement) {
	if v, ok := g.verdicts.Find(j.key()); ok {
		g.count(j.rule, v, nil)
		return
	}
	select {
	case g.turns <- struct{}{}:
	default:
		g.count(j.rule, verdict{}, errBusy)
		return
	}
	go func() {
		defer func() { <-g.turns }()
		v, err := g.judge(context.WithoutCancel(ctx), j)
		g.count(j.rule, v, err)
		if err != nil {
			g.Log.Warn("a pull rule that observes could not be decided", slog.String("rule", j.rule.Slug), slog.Any("error", err))
		}
	}()
}

var errBusy = errors.New("pullrules: too many verdicts are being computed")

// source is where companions of a manifest may be.
type source struct {
	repo    meta.Repo
	content policy.Content
	stored  policy.StoredMeta // nil for an upstream
}

// refers reports whether the manifest has a referrer of the artifact type.
func (s source) refers(ctx context.Context, d oci.Digest, artifactType string) (bool, error) {
	var found []meta.Referrer
	var err error
	if s.stored != nil {
		found, err = s.stored.ListReferrers(ctx, s.repo, d, artifactType, meta.Page{Size: 1})
	} else {
		found, err = s.content.ListReferrers(ctx, s.repo, d)
	}
	if policy.IsAbsent(err) {
		err = nil
	}
	return slices.ContainsFunc(found, func(r meta.Referrer) bool { return r.ArtifactType == artifactType }), err
}

// sources are the repository that the client names, to which clients push signatures, and that
// of the member: what is stored of it, then its upstream, so that a cached image with its
// signatures is served while the upstream is out.
func (j judgement) sources() []source {
	stored := policy.Stored{Meta: j.gate.Meta, Blobs: j.gate.Blobs}
	var all []source
	if j.pull.Repo != j.answer.Repo {
		all = append(all, source{j.pull.Repo, policy.Hosted{Stored: stored}, stored.Meta})
	}
	if j.answer.Upstream == nil {
		return append(all, source{j.answer.Repo, policy.Hosted{Stored: stored}, stored.Meta})
	}
	return append(all, source{j.answer.Repo, stored, stored.Meta}, source{j.answer.Repo, j.answer.Upstream, nil})
}

// maxLine bounds the indexes that are asked for a manifest in them.
const maxLine = 16

// decide computes the verdict. The error is of what could not be read, if nothing that was
// read meets the rule.
func (j judgement) decide(ctx context.Context) (verdict, error) {
	m := j.answer.Manifest
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return verdict{}, chain.Internal(err) // it was parsed before it was stored
	}
	all := j.sources()
	at := all[len(all)-1]
	if is, err := policy.IsCompanion(ctx, at.content, at.repo, parsed); err != nil || is {
		return verdict{}, err
	}
	if held, err := j.held(ctx); err != nil || held.lacking != "" {
		return held, err
	}
	first, failure := j.ask(ctx, all, m)
	if failure == nil && first.lacking == "" {
		return first, nil
	}
	line, err := j.gate.Meta.Lineage(ctx, j.answer.Repo, m.Digest)
	if err != nil {
		return verdict{}, err
	}
	left := maxLine
	for _, one := range slices.Backward(line) {
		if left--; one.Digest == m.Digest || left < 0 {
			continue
		}
		index, err := at.content.FindManifest(ctx, at.repo, oci.Reference{Digest: one.Digest})
		if policy.IsAbsent(err) {
			continue // it was deleted since
		}
		if err != nil {
			return verdict{}, err
		}
		v, err := j.ask(ctx, all, index)
		switch {
		case err == nil && v.lacking == "":
			return v, nil
		case failure == nil:
			failure = err
		}
	}
	return first, failure
}

// held refuses an image of an upstream that was seen first less than min_age ago. It is stored
// in the cache before this is asked, so that a refused pull counts as having seen it.
func (j judgement) held(ctx context.Context) (verdict, error) {
	if j.rule.MinAge == 0 || j.answer.Upstream == nil {
		return verdict{}, nil
	}
	line, err := j.gate.Meta.Lineage(ctx, j.answer.Repo, j.answer.Manifest.Digest)
	if err != nil {
		return verdict{}, err
	}
	since := j.gate.Now() // of what could not be stored
	if len(line) > 0 {
		since = line[0].At
	}
	until := since.Add(j.rule.MinAge)
	if !j.gate.Now().Before(until) {
		return verdict{}, nil
	}
	return verdict{lacking: fmt.Sprintf("the image is held for %s after it was seen first, until %s", j.rule.MinAge, until.UTC().Format(time.RFC3339)), until: until}, nil
}

// ask asks whether the rule is met by one manifest itself.
func (j judgement) ask(ctx context.Context, all []source, m meta.Manifest) (verdict, error) {
	var lacking []string
	if by := j.gate.Trust.Signers(j.rule.Keys, j.rule.Identities, j.rule.TrustedRoot); !by.None() {
		why, err := anyOf(all, func(s source) (string, error) {
			_, why, err := policy.VerifySigned(ctx, s.content, s.repo, m, by)
			return why, err
		})
		if err != nil {
			return verdict{}, err
		}
		if why != "" {
			lacking = append(lacking, by.Lacking(why))
		}
	}
	for _, want := range j.rule.ArtifactTypes {
		why, err := anyOf(all, func(s source) (string, error) {
			if has, err := s.refers(ctx, m.Digest, want); has || err != nil {
				return "", err
			}
			return "it has none", nil
		})
		if err != nil {
			return verdict{}, err
		}
		if why != "" {
			lacking = append(lacking, "the image needs a referrer of the artifact type "+want)
		}
	}
	return verdict{lacking: strings.Join(lacking, ", and ")}, nil
}

// anyOf asks the sources in order until one has what is needed. If none has, the text is what
// the last one lacks, and the error is of one that could not be read.
func anyOf(all []source, ask func(source) (string, error)) (string, error) {
	var failure error
	lacking := ""
	for _, s := range all {
		why, err := ask(s)
		switch {
		case err != nil && failure == nil:
			failure = err
		case err != nil:
		case why == "":
			return "", nil
		default:
			lacking = why
		}
	}
	return lacking, failure
}
