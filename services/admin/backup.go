package admin

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// Backups are the backups that are in flight. Each ends by itself when it is not
// renewed. End of one that is not there, and Renew, fail with ResourceUnknown.
type Backups interface {
	// Begin holds all that can be pulled now, and returns the backup's id and when
	// it ends.
	Begin(ctx context.Context) (id string, until time.Time, err error)
	// Renew moves the end into the future.
	Renew(id string) (until time.Time, err error)
	// End ends it now, after record, and not if that fails.
	End(id string, record func() error) error
	// Snapshot is the file of the metadata, below the data directory.
	Snapshot(id string) string
}

const backupsCollection = "backups"

// errNoBackups is the error of a deployment on servers.
func errNoBackups() error {
	return fault.New(fault.Conflict, fault.UnsupportedReason,
		"this deployment keeps its metadata in Postgres: back it up with pg_dump, then the bucket with its own tools, and check the two with `berth fsck`")
}

// CreateBackup begins a backup.
func (s *Service) CreateBackup(ctx context.Context, _ *pb.CreateBackupRequest) (*pb.Backup, error) {
	if s.backups == nil {
		return nil, errNoBackups()
	}
	id, until, err := s.backups.Begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.store.RecordEvent(ctx, causedBy(ctx, "name", "", backupsCollection+"/"+id), meta.BackupCreated, backupsCollection+"/"+id); err != nil {
		return nil, errors.Join(err, s.backups.End(id, func() error { return nil }))
	}
	return s.backup(id, until), nil
}

// RenewBackup moves its end into the future.
func (s *Service) RenewBackup(_ context.Context, req *pb.RenewBackupRequest) (*pb.Backup, error) {
	ids, err := splitName("name", req.GetName(), backupsCollection)
	if err != nil {
		return nil, err
	}
	if s.backups == nil {
		return nil, errNoBackups()
	}
	until, err := s.backups.Renew(ids[0])
	if err != nil {
		return nil, err
	}
	return s.backup(ids[0], until), nil
}

// DeleteBackup ends it.
func (s *Service) DeleteBackup(ctx context.Context, req *pb.DeleteBackupRequest) (*emptypb.Empty, error) {
	ids, err := splitName("name", req.GetName(), backupsCollection)
	if err != nil {
		return nil, err
	}
	if s.backups == nil {
		return nil, errNoBackups()
	}
	return deleted(s.backups.End(ids[0], func() error {
		return s.store.RecordEvent(ctx, causedBy(ctx, "name", req.GetName(), ""), meta.BackupDeleted, req.GetName())
	}), req)
}

func (s *Service) backup(id string, until time.Time) *pb.Backup {
	return &pb.Backup{Name: backupsCollection + "/" + id, Snapshot: s.backups.Snapshot(id), ExpireTime: timestamppb.New(until)}
}
