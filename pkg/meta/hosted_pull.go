package meta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
)

// HostedPull is what a repository of a registry answered, and how often.
type HostedPull struct {
	Repo   Repo // of the member of a chain that answered
	Digest oci.Digest
	Tag    string // empty: by digest
	Times  int64
}

// PullBatch is what a process writes of the pulls that it answered.
type PullBatch struct {
	Recorder uuid.UUID // the process, as in BeginPulls
	Number   int64     // 1 and up; a batch that is repeated takes effect once
	Pulls    []HostedPull
	// Whole says that, with this batch, all pulls are written that were answered before
	// the whole batch before it.
	Whole bool
	Lost  bool // the process answered pulls that it does not know: the accounting begins again
}

// PullAccounting is what is known of all pulls.
type PullAccounting struct {
	Since   time.Time // no pull after it is unknown, up to KnownAt; zero: nothing is known
	KnownAt time.Time // all processes have written their pulls up to here
}

// Moment is that of a policy whose decision is as of now. Where pulls before now may not
// be written yet, everything counts as pulled now.
func (a PullAccounting) Moment(now time.Time) retention.Moment {
	m := retention.Moment{Now: now, Slack: PullSlack}
	if !a.KnownAt.Before(now) {
		m.PullsSince = a.Since
	}
	return m
}

const (
	// PullFlush is the time between two batches of a process.
	PullFlush = time.Minute
	// PullSlack is how much later than its period a rule about pulls acts.
	PullSlack = time.Hour + PullFlush
	// PullsBegin is how long after the first recorder of the deployment the accounting
	// begins: until then, nodes of the version before may serve pulls.
	PullsBegin = 24 * time.Hour
	// RecorderLost is after which silence a recorder counts as killed.
	RecorderLost = time.Hour
)

// HostedPulls keeps when hosted tags and manifests were pulled. A process says that it
// answers pulls before it answers the first, and that it will not before it ends. If it
// cannot say the latter, its last pulls are unknown, and the accounting begins again: then
// everything counts as pulled.
type HostedPulls interface {
	// BeginPulls names a process that will answer pulls.
	BeginPulls(ctx context.Context, recorder uuid.UUID) error
	// RecordHostedPulls writes a batch: what was pulled was pulled now. What is no longer
	// there is left out.
	RecordHostedPulls(ctx context.Context, b PullBatch) error
	// EndPulls says that all pulls of the process are written and that it answers none.
	EndPulls(ctx context.Context, recorder uuid.UUID) error
	// EndLostRecorders ends recorders that wrote nothing for RecorderLost, and returns how
	// many; if there are any, the accounting begins again.
	EndLostRecorders(ctx context.Context, limit int) (int, error)
	// FindPullAccounting returns what is known of pulls.
	FindPullAccounting(ctx context.Context) (PullAccounting, error)
	// RetentionContent is what a retention policy needs to know of a repository, but for
	// the tag rules. fault.NameUnknown if it does not exist.
	RetentionContent(ctx context.Context, r Repo) (retention.Content, error)
}
