package sqlitemeta

import (
	"errors"
	"slices"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/berth-registry/berth/pkg/fault"
)

// translate makes a *fault.Error of what comes out of the driver: what may pass
// is an outage, everything unforeseen is a defect.
func translate(err error) error {
	var known *fault.Error
	if err == nil {
		return nil
	}
	if errors.As(err, &known) {
		return err
	}
	switch code(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL:
		return fault.Down(err, "the metadata store")
	}
	return fault.From(err)
}

// violates says whether err is one of the given extended constraint codes.
func violates(err error, codes ...int) bool {
	return slices.Contains(codes, code(err))
}

// violatesUnique says whether err is a row that is there already.
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
