package sqlitemeta

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/oci"
)

// moment reads a time that was stored in microseconds; NULL is the zero time.
type moment struct{ to *time.Time }

// Scan implements sql.Scanner.
func (m moment) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*m.to = time.Time{}
	case int64:
		*m.to = timeOf(v)
	default:
		return fmt.Errorf("sqlitemeta: %T is no time", v)
	}
	return nil
}

// micros is how a time is stored; the zero time is NULL.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// digest reads a stored digest; NULL is the empty one.
type digest struct{ to *oci.Digest }

// Scan implements sql.Scanner.
func (d digest) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*d.to = ""
		return nil
	case []byte:
		var err error
		*d.to, err = oci.DigestFromBytes(v)
		return err
	default:
		return fmt.Errorf("sqlitemeta: %T is no digest", v)
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
