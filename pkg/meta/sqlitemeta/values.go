package sqlitemeta

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/oci"
)

// micros is how a time is stored; the zero time is NULL.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// digestScanner reads a stored digest; NULL is the empty one.
type digestScanner struct{ to *oci.Digest }

// Scan implements sql.Scanner.
func (s digestScanner) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = ""
		return nil
	case []byte:
		var err error
		*s.to, err = oci.DigestFromBytes(v)
		return err
	default:
		return fmt.Errorf("sqlitemeta: %T is not a digest", v)
	}
}

// timeOf is the reverse of time.Time.UnixMicro.
func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// idOrNull stores uuid.Nil as NULL.
func idOrNull(id uuid.UUID) any {
	if id == uuid.Nil {
		return nil
	}
	return id[:]
}
