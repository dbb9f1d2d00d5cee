package admin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// maxCounted bounds what a deletion counts, of each kind of content.
const maxCounted = 100_000

// doomed is what a deletion is about: a tenant, or one registry of it.
type doomed struct {
	name     string // of the resource
	tenant   tenant.ID
	registry tenant.RegistryID // 0: the tenant
	content  meta.Content
}

// force refuses a deletion of what has content. The answer tells how much.
func (s *Service) force(ctx context.Context, d *doomed, forced bool) error {
	var err error
	d.content, err = s.store.CountContent(ctx, d.tenant, d.registry, maxCounted)
	if err != nil || forced || d.content == (meta.Content{}) {
		return err
	}
	return s.notEmpty(*d)
}

// deletion is the answer to one. One that only would take place gets its times
// from now, by this machine.
func (s *Service) deletion(d doomed, deletedAt, expireAt time.Time) *pb.Deletion {
	if deletedAt.IsZero() {
		deletedAt = time.Now()
		if s.undelete > 0 {
			expireAt = deletedAt.Add(s.undelete)
		}
	}
	m := &pb.Deletion{
		Content: &pb.Content{
			Repositories: d.content.Repositories, Manifests: d.content.Manifests, Tags: d.content.Tags,
			SizeBytes: d.content.Bytes, AtLeast: d.content.AtLeast,
		},
		NameReservedUntil: timestamppb.New(s.reservedUntil(d, deletedAt)),
	}
	if !expireAt.IsZero() {
		m.ExpireTime = timestamppb.New(expireAt)
	}
	return m
}

func (s *Service) reservedUntil(d doomed, deletedAt time.Time) time.Time {
	reserved := s.undelete
	if d.registry == 0 {
		reserved = max(reserved, s.quarantine)
	}
	return deletedAt.Add(reserved)
}

// notEmpty says what is there, in words and in fields.
func (s *Service) notEmpty(d doomed) error {
	c, now := d.content, time.Now()
	atLeast := ""
	if c.AtLeast {
		atLeast = "at least "
	}
	back := "It cannot be taken back"
	fields := map[string]string{
		"repositories": strconv.FormatInt(c.Repositories, 10), "manifests": strconv.FormatInt(c.Manifests, 10),
		"tags": strconv.FormatInt(c.Tags, 10), "size_bytes": strconv.FormatInt(c.Bytes, 10), "at_least": strconv.FormatBool(c.AtLeast),
		"name_reserved_until": s.reservedUntil(d, now).UTC().Format(time.RFC3339),
	}
	if s.undelete > 0 {
		until := now.Add(s.undelete).UTC().Format(time.RFC3339)
		back, fields["expire_time"] = "It can be taken back until "+until, until
	}
	f := fault.New(fault.Conflict, fault.NotEmpty,
		"%s holds %s%s, %s and %s, %s; to delete it with them, repeat the request with force=true. %s. Its name stays reserved until %s",
		d.name, atLeast, counted(c.Repositories, "repository", "repositories"), counted(c.Manifests, "manifest", "manifests"),
		counted(c.Tags, "tag", "tags"), sizeText(c.Bytes), back, fields["name_reserved_until"])
	f.Detail = fields
	return f
}

func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// sizeText is a number of bytes as people read it.
func sizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return counted(n, "byte", "bytes")
	}
	size, units := float64(n)/unit, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for size >= unit {
		size, units = size/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %s", size, units[0])
}

// deletedAnswer answers a deletion; where the request allows it, what is missing
// counts as deleted.
func deletedAnswer(m *pb.Deletion, err error, req interface{ GetAllowMissing() bool }) (*pb.Deletion, error) {
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		return &pb.Deletion{}, nil
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}
