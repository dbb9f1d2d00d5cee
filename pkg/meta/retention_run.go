package meta

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tenant"
)

// RetentionRun is the last run of a policy.
type RetentionRun struct {
	Number  int64     // grows with each run; 0: there was none
	DueAt   time.Time // of the next one; zero: when it is asked for. Of one that runs: when another worker may continue it
	BeganAt time.Time // as of when it decides
	EndedAt time.Time // zero while it runs
	RetentionProgress
	Enforced bool   // it deletes
	Limited  bool   // it ended at the limit of the policy
	Failure  string // why it could not continue, the last time
}

// RetentionProgress is how far a run is.
type RetentionProgress struct {
	Registry, Repository string // the last repository that it is through with
	Repositories         int64  // that were evaluated
	Deletions            int64  // that were done, or would be: of a tag, or of a manifest with its tags
	Tags                 int64  // in them
	Manifests            int64  // in them
	Bytes                int64  // of them, and of the blobs that no other manifest of their repositories names
	Protected            int64  // tags that a rule would delete, and a tag rule protects
	Refused              int64  // deletions that were not done: what they were decided by had changed
}

// RetentionStep is a worker in the run that it claimed.
type RetentionStep struct {
	Tenant tenant.ID
	Policy string // its slug
	Number int64  // of the run
	Worker uuid.UUID
	Hold   time.Duration // for how long no other worker continues, from each step on
}

// RetentionDeletion is a deletion that a run decided on, with what it was decided by.
type RetentionDeletion struct {
	Step     RetentionStep
	Repo     Repo
	Deletion retention.Deletion
	Basis    retention.Basis
	By       Cause
}

// ErrRunLost is the cause of the error of a step whose run another worker has, or that was
// ended by a change of the tenant's policies.
var ErrRunLost = errors.New("meta: the run is not this worker's")

// RunLost is the error of such a step.
func RunLost() error {
	return fault.Wrap(ErrRunLost, fault.Conflict, fault.EtagMismatch, "the run has ended, or another worker has it")
}

// EvaluatedOtherwise is the error of a deletion whose basis has changed.
func EvaluatedOtherwise(what string) error {
	return fault.New(fault.Conflict, fault.EtagMismatch, "%s since the policy was evaluated", what)
}

// RetentionRuns lets workers run policies. Any number may work: a run is of one at a time,
// and is continued by another one when that is not heard of.
type RetentionRuns interface {
	// ClaimRetention begins a run that is due, or continues one that no worker has, and
	// returns its policy with it. It returns false if no run is due.
	ClaimRetention(ctx context.Context, worker uuid.UUID, hold time.Duration) (RetentionPolicy, bool, error)
	// AdvanceRetention records how far the run is; of one that deletes, DeleteEvaluated counts
	// what goes. It returns false if the worker has it no longer: it stops.
	AdvanceRetention(ctx context.Context, s RetentionStep, p RetentionProgress) (bool, error)
	// ReleaseRetention leaves the run to any worker, from a while later on.
	ReleaseRetention(ctx context.Context, s RetentionStep, after time.Duration, failure string) error
	// EndRetention ends the run, with an event of its tenant. It returns false as
	// AdvanceRetention.
	EndRetention(ctx context.Context, by Cause, s RetentionStep, p RetentionProgress, limited bool) (bool, error)
	// DeleteEvaluated deletes a tag as DeleteTag does, or a manifest as DeleteManifest does,
	// and counts it in the run, all in one transaction. RunLost if the worker has the run no
	// longer; EvaluatedOtherwise if a tag moved, the manifest has another tag or companion,
	// was deleted and pushed again, or was pulled, or what it accompanies is there; else the errors of these
	// methods.
	DeleteEvaluated(ctx context.Context, d RetentionDeletion) error
}
