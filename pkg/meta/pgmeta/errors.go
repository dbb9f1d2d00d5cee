package pgmeta

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

// What ends an attempt of a transaction without being its answer.
var (
	// errUndo: the answer is known and nothing shall remain. Store.write rolls back
	// and answers nil.
	errUndo = errors.New("pgmeta: undo")
	// errLost: the connection ended; whether a COMMIT took effect is unknown.
	errLost = errors.New("pgmeta: the connection was lost")
)

// SQLSTATE codes that end an attempt which may be repeated.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
)

// readOnly is the SQLSTATE of a server that takes no writes (any more).
const readOnly = "25006"

// tooManyConnections is the code of a server, or a role, that has all it may have.
const tooManyConnections = "53300"

// contended says that another transaction was in the way.
func contended(err error) bool {
	return slices.Contains([]string{serializationFailure, deadlockDetected, lockNotAvailable}, code(err))
}

// code is the SQLSTATE of what the server refused; empty for other errors.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// violated is the constraint that err violates, or table.column for one that
// must not be NULL.
func violated(err error) string {
	var e *pgconn.PgError
	switch {
	case !errors.As(err, &e):
		return ""
	case e.ConstraintName != "":
		return e.ConstraintName
	case e.ColumnName != "":
		return e.TableName + "." + e.ColumnName
	default:
		return ""
	}
}

// The classes and codes of SQLSTATE by which a server says that it cannot do
// its work now: no connection, no right to connect, out of resources, stopped
// by an operator, broken, or no primary (any more).
var outages = []string{"08", "28", "3D", "53", "57", "58", "XX", readOnly, serializationFailure, deadlockDetected, lockNotAvailable}

// Codes for text that the database cannot hold: a NUL, or no UTF-8.
var badTexts = []string{"22021", "22P05"}

// translate makes a *fault.Error of what comes out of the driver: what may pass
// is an outage, everything unforeseen is a defect.
func translate(err error) error {
	var known *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, errLost), errors.Is(err, sqlmeta.ErrRestart):
		return down(err)
	}
	c := code(err)
	switch {
	case c != "" && slices.ContainsFunc(outages, func(prefix string) bool { return strings.HasPrefix(c, prefix) }):
		return down(err)
	case slices.Contains(badTexts, c):
		return fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "the request holds text that cannot be stored")
	default:
		return fault.From(err)
	}
}

func down(err error) error { return fault.Down(err, "the metadata store") }
