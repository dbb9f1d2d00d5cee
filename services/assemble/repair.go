package assemble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/adminclient"
	"github.com/berth-registry/berth/services/janitor"
)

// Repair is one whole scrub, "berth fsck --repair".
type Repair struct {
	Progress func(done, of int64) // of bytes; called about once a second
	Report   func(meta.Finding)   // is told of each damaged blob, and of what a check finds besides
}

// RepairSummary says how a repair ended.
type RepairSummary struct {
	Server   bool  `json:"server"`   // a running server did it; else this process, which also checked the rows
	Objects  int64 `json:"objects"`  // live objects that were examined
	Bytes    int64 `json:"bytes"`    // of these objects
	Repaired int64 `json:"repaired"` // blobs that upstreams gave again
	Damaged  int64 `json:"damaged"`  // blobs that are damaged now; the next push of each repairs it
}

// scrubbed is what is watched of a scrub.
type scrubbed struct {
	state   meta.ScrubState
	total   int64
	damaged []meta.Finding
	RepairSummary
}

// watchEvery is the time between two looks at a scrub.
const watchEvery = time.Second

// errScrubStopped ends a repair that somebody else ended.
var errScrubStopped = errors.New("the scrub was stopped by the admin API")

// Run has the server on this machine scrub, or scrubs itself if none answers at admin_addr. The
// configuration has passed CheckStores.
func (r Repair) Run(ctx context.Context, c boot.Config) (RepairSummary, error) {
	token, err := readOperatorToken(c)
	if err != nil { // no server has run here
		return r.alone(ctx, c)
	}
	server := adminClient(c, token)
	err = server.Call(ctx, http.MethodPost, "/v1/scrub:start", map[string]bool{"whole": true}, nil)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return r.alone(ctx, c)
	}
	if err != nil {
		return RepairSummary{}, err
	}
	end, err := r.watch(ctx, func(ctx context.Context) (scrubbed, error) { return askScrub(ctx, server) })
	for _, f := range end.damaged {
		r.Report(f)
	}
	end.Server = true
	return end.RepairSummary, err
}

// watch looks at a scrub until it has ended.
func (r Repair) watch(ctx context.Context, look func(context.Context) (scrubbed, error)) (scrubbed, error) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		now, err := look(ctx)
		switch {
		case err != nil:
			return now, err
		case now.state == meta.ScrubStopped:
			return now, errScrubStopped
		case now.state == meta.ScrubIdle:
			return now, nil
		}
		r.Progress(now.Bytes, now.total)
		select {
		case <-ctx.Done():
			return now, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// askScrub asks a server how far it is.
func askScrub(ctx context.Context, server *adminclient.Client) (scrubbed, error) {
	var text json.RawMessage
	var m pb.Scrub
	err := server.Call(ctx, http.MethodGet, "/v1/scrub", nil, &text)
	if err == nil {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, &m)
	}
	now := scrubbed{
		state: meta.ScrubState(strings.ToLower(m.GetState().String())), total: m.GetTotalBytes(),
		RepairSummary: RepairSummary{Objects: m.GetObjects(), Bytes: m.GetBytes(), Repaired: m.GetRepaired(), Damaged: m.GetDamaged()},
	}
	for _, d := range m.GetDamagedBlobs() {
		place := meta.Place{Tenant: strings.TrimPrefix(d.GetTenant(), "tenants/"), Repositories: d.GetRepositories()}
		now.damaged = append(now.damaged, damageFinding(strings.ToLower(d.GetDamage().String()), place, d.GetDigest(), d.GetObject()))
	}
	return now, err
}

func damageFinding(damage string, p meta.Place, digest, object string) meta.Finding {
	return meta.Finding{
		Invariant: "I1", Detail: fmt.Sprintf("object %s of blob %s is %s; the next push of the blob repairs it", object, digest, damage),
		Place: p, Digest: digest, Object: object,
	}
}

// alone scrubs in this process, as fast as the store gives, and then checks the rows.
func (r Repair) alone(ctx context.Context, c boot.Config) (RepairSummary, error) {
	s, err := openExisting(ctx, c) // nothing is made where there is nothing
	if err != nil {
		return RepairSummary{}, err
	}
	if err := errors.Join(s.compareToCheck(ctx, c), s.close()); err != nil {
		return RepairSummary{}, err
	}
	if s, err = openStores(ctx, c, nil); err != nil {
		return RepairSummary{}, err
	}
	end, err := r.scrubAlone(ctx, c, s)
	if err = errors.Join(err, s.close()); err != nil {
		return end.RepairSummary, err
	}
	told := map[string]bool{}
	for _, f := range end.damaged {
		told[f.Object] = true
		r.Report(f)
	}
	_, err = Check(ctx, c, false, nil, func(f meta.Finding) {
		if f.Invariant != "I1" || !told[f.Object] {
			r.Report(f)
		}
	})
	return end.RepairSummary, err
}

func (r Repair) scrubAlone(ctx context.Context, c boot.Config, s stores) (scrubbed, error) {
	if err := s.compareToCheck(ctx, c); err != nil {
		return scrubbed{}, err
	}
	if err := s.meta.StartScrub(ctx, meta.Cause{Op: uuid.New(), Actor: "operator"}, true); err != nil {
		return scrubbed{}, err
	}
	worker := janitor.NewScrubber(janitor.ScrubConfig{Meta: s.meta, Blobs: s.blobs, Unbound: true, Guard: s.compare})
	ctx, cancel := context.WithCancelCause(ctx)
	walked := make(chan struct{})
	go func() {
		defer close(walked)
		if err := worker.Finish(ctx); err != nil {
			cancel(err)
		}
	}()
	end, err := r.watch(ctx, func(ctx context.Context) (scrubbed, error) { return lookAtScrub(ctx, s.meta) })
	cancel(nil)
	<-walked
	return end, err
}

// lookAtScrub reads how far it is.
func lookAtScrub(ctx context.Context, m meta.Scrubs) (scrubbed, error) {
	now, err := m.FindScrub(ctx)
	if err != nil {
		return scrubbed{}, err
	}
	end := scrubbed{state: now.State, total: now.Total, RepairSummary: RepairSummary{Objects: now.Objects, Bytes: now.Bytes, Repaired: now.Repaired}}
	if now.State != meta.ScrubIdle {
		return end, nil
	}
	var after blob.Key
	for {
		page, err := m.ListDamaged(ctx, after, damagedPage)
		if err != nil || len(page) == 0 {
			end.Damaged = int64(len(end.damaged))
			return end, err
		}
		for _, d := range page {
			after = d.Key
			end.damaged = append(end.damaged, damageFinding(string(d.Damage), d.Place, d.Digest.String(), d.Key.String()))
		}
	}
}

const damagedPage = 500
