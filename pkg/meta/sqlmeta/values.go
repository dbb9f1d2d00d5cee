package sqlmeta

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// timeScanner reads a time, which SQLite stores in microseconds; NULL is the zero
// time.
type timeScanner struct{ to *time.Time }

// Scan implements sql.Scanner.
func (s timeScanner) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = time.Time{}
	case int64:
		*s.to = time.UnixMicro(v).UTC()
	case time.Time:
		*s.to = v.UTC()
	default:
		return fmt.Errorf("sqlmeta: %T is not a time", v)
	}
	return nil
}

// ScanTime reads a column of a time.
func ScanTime(to *time.Time) sql.Scanner { return timeScanner{to} }

// jsonScanner decodes JSON into a pointer to a zero value.
type jsonScanner struct{ to any }

// Scan implements sql.Scanner.
func (s jsonScanner) Scan(v any) error {
	switch v := v.(type) {
	case string:
		return json.Unmarshal([]byte(v), s.to)
	case []byte:
		return json.Unmarshal(v, s.to)
	default:
		return fmt.Errorf("sqlmeta: %T is not JSON", v)
	}
}

// hashScanner reads a SHA-256.
type hashScanner struct{ to *[32]byte }

// Scan implements sql.Scanner.
func (s hashScanner) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(s.to) {
		return fmt.Errorf("sqlmeta: %T is not a SHA-256", v)
	}
	copy(s.to[:], b)
	return nil
}
