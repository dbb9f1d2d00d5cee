package pullrules

import (
	"cmp"
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
	lacking   string    // empty: the rule is met
	until     time.Time // the verdict ends then; zero: by its life alone
	companion bool      // the manifest needs nothing
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
	done := g.flights.DoChan(fmt.Sprintf("%d %#v", j.pull.Hops, k), func() (any, error) {
		if v, ok := g.verdicts.Find(k); ok {
			return v, nil
		}
		ctx, cancel := context.WithTimeout(shared, judgeTimeout)
		defer cancel()
		v, err := j.decideInTurn(ctx)
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
	v.lacking = fault.ClipTo(v.lacking, maxLacking)
	g.verdicts.Put(k, v, life)
	if v.lacking != "" || v.companion || !j.rule.Scan.None() {
		return
	}
	// What an index names meets the rule as it does, unless it has results of scans of its own:
	// clients pull it next. What only lists companions is met by none of what it names.
	parsed, err := oci.ParseManifest(j.answer.Manifest.MediaType, j.answer.Manifest.Payload)
	if err != nil {
		return // it is no index, then
	}
	for _, child := range parsed.Children[:min(len(parsed.Children), maxLine)] {
		k.digest = child.Digest
		g.verdicts.Put(k, v, life)
	}
}

// decideInTurn is decide when it is the tenant's turn.
func (j judgement) decideInTurn(ctx context.Context) (verdict, error) {
	t, n := j.pull.Repo.Tenant, int64(1)
	if !j.rule.Scan.None() {
		n = scanTurns
	}
	if err := j.gate.deciding.Acquire(ctx, t, n); err != nil {
		return verdict{}, fault.Wrap(err, fault.Unavailable, fault.Busy, "too many pulls of the tenant wait for the verdict of a pull rule; try again later").WithRetryAfter(time.Second)
	}
	defer j.gate.deciding.Release(t, n)
	return j.decide(ctx)
}

// observe counts what a rule says that refuses nothing. No pull waits for it.
func (g *Gate) observe(ctx context.Context, j judgement) {
	if v, ok := g.verdicts.Find(j.key()); ok {
		g.count(j.rule, v, nil)
		return
	}
	t := j.pull.Repo.Tenant
	if !g.observed.TryAcquire(t, 1) {
		g.count(j.rule, verdict{}, errBusy)
		return
	}
	go func() {
		defer g.observed.Release(t, 1)
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

// maxLine bounds the indexes that are asked for a manifest in them, and those that an index
// names whose verdict is its own. Where an upstream is asked, it is maxAsked.
const (
	maxLine  = meta.MaxLineage
	maxAsked = 16
)

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
	is, unread := j.isCompanion(ctx, at, m.Digest, parsed)
	if is {
		return verdict{companion: true}, nil
	}
	if held, err := j.held(ctx); err != nil || held.lacking != "" {
		return held, err
	}
	said, err := j.accompanied(ctx, all, m, unread)
	if err != nil || j.rule.Scan.None() {
		return said, err
	}
	scanned, err := j.scanned(ctx, all, m, parsed)
	if said.lacking != "" && scanned.lacking != "" {
		scanned.lacking = said.lacking + ", and " + scanned.lacking
	}
	scanned.lacking = cmp.Or(scanned.lacking, said.lacking)
	return scanned, err
}

// accompanied asks whether the manifest, or an index that names it, has the signature and the
// referrers that the rule asks for. unread is what could not be read before.
func (j judgement) accompanied(ctx context.Context, all []source, m meta.Manifest, unread error) (verdict, error) {
	at := all[len(all)-1]
	first, failure := j.ask(ctx, all, m)
	if failure == nil && first.lacking == "" {
		return first, nil
	}
	if failure == nil {
		failure = unread
	}
	line, err := j.gate.Meta.Lineage(ctx, j.answer.Repo, m.Digest)
	if err != nil {
		return verdict{}, err
	}
	left := maxLine
	if j.answer.Upstream != nil {
		left = maxAsked
	}
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

// isCompanion asks once for all rules: the answer is the content's own.
func (j judgement) isCompanion(ctx context.Context, at source, d oci.Digest, parsed *oci.Manifest) (bool, error) {
	k := key{own: j.pull.Repo, store: at.repo.Registry, name: at.repo.Name, digest: d}
	if v, ok := j.gate.verdicts.Find(k); ok {
		return v.lacking == "", nil
	}
	is, err := policy.IsCompanion(ctx, at.content, at.repo, parsed)
	if err == nil {
		v := verdict{}
		if !is {
			v.lacking = "it is no companion"
		}
		j.gate.verdicts.Put(k, v, goodLife)
	}
	return is, err
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
