package sqlitemeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// micros is the stored form of a time; NULL for the zero time.
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

// translate makes a *fault.Error of a driver error: a temporary error is an outage,
// any unexpected one a defect.
func translate(err error) error {
	var known *fault.Error
	if err == nil {
		return nil
	}
	if errors.As(err, &known) {
		return err
	}
	if violates(err, sqlite3.SQLITE_CONSTRAINT_TRIGGER) {
		if _, refusal, found := strings.Cut(err.Error(), "berth_quota:"); found {
			return sqlmeta.QuotaUsedUp(refusal)
		}
	}
	switch code(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL:
		return fault.Down(err, "the metadata store")
	case sqlite3.SQLITE_FULL:
		return blob.NoRoom(err) // it can be read
	}
	return fault.From(err)
}

// groupFailed is the fault of a failed BEGIN or COMMIT.
func groupFailed(err error) error {
	if code(err)&0xff == sqlite3.SQLITE_FULL {
		return translate(err)
	}
	return fault.Down(err, "the metadata store")
}

// violates says whether err is one of the given extended constraint codes.
func violates(err error, codes ...int) bool {
	return slices.Contains(codes, code(err))
}

// violatesUnique reports whether err is about an existing row.
func violatesUnique(err error) bool {
	return violates(err, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// code is SQLite's extended result code; 0 for other errors.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// connector opens connections of one store.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

// Connect implements driver.Connector.
func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return c.driver }

// openDB opens a database in which the function berth_now returns the store's time,
// in microseconds.
func openDB(dsn string, now func() int64) (*sql.DB, error) {
	d := &sqlite.Driver{}
	err := d.RegisterScalarFunction("berth_now", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		return now(), nil
	})
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{d, dsn}), nil
}
