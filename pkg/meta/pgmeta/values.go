package pgmeta

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/berth-registry/berth/pkg/oci"
)

// timeScanner reads a time; NULL is the zero time.
type timeScanner struct{ to *time.Time }

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (s timeScanner) ScanTimestamptz(v pgtype.Timestamptz) error {
	*s.to = time.Time{}
	if v.Valid {
		*s.to = v.Time.UTC()
	}
	return nil
}

// timeOrNull stores the zero time as NULL.
func timeOrNull(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}

// digestScanner reads a stored digest; NULL is the empty one.
type digestScanner struct{ to *oci.Digest }

// ScanBytes implements pgtype.BytesScanner.
func (s digestScanner) ScanBytes(v []byte) error {
	if v == nil {
		*s.to = ""
		return nil
	}
	var err error
	*s.to, err = oci.DigestFromBytes(v)
	return err
}

// stored is how a set of digests goes into a statement.
func stored(digests []oci.Digest) [][]byte {
	out := make([][]byte, len(digests))
	for i, d := range digests {
		out[i] = d.Bytes()
	}
	return out
}

// uuidScanner reads a uuid; NULL is uuid.Nil.
type uuidScanner struct{ to *uuid.UUID }

// ScanUUID implements pgtype.UUIDScanner.
func (s uuidScanner) ScanUUID(v pgtype.UUID) error {
	*s.to = uuid.Nil
	if v.Valid {
		*s.to = v.Bytes
	}
	return nil
}

// pgUUID is how a uuid is stored; uuid.Nil is NULL.
func pgUUID(u uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: u, Valid: u != uuid.Nil} }

// pgUUIDs are those of the uuids that are not uuid.Nil.
func pgUUIDs(us ...uuid.UUID) []pgtype.UUID {
	out := make([]pgtype.UUID, 0, len(us))
	for _, u := range us {
		if u != uuid.Nil {
			out = append(out, pgUUID(u))
		}
	}
	return out
}
