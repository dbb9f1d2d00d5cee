package sqlitemeta

import (
	"errors"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const insertEvent = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (tenant_id, op) DO NOTHING`

// event records who did what, right after the repository's state was read (or
// the tenant's row was made). errAlreadyDone says that an earlier attempt of
// this operation was committed: return it.
func (t *tx) event(by meta.Cause, id tenant.ID, verb, target string) error {
	if by.Op == uuid.Nil {
		return errors.New("sqlitemeta: a mutation needs an operation id")
	}
	n, err := t.exec(insertEvent, id, by.Op[:], t.now, by.Actor, verb, target, by.RequestID)
	if err != nil {
		return err
	}
	if n == 0 {
		return errAlreadyDone
	}
	return nil
}

const findEvent = `SELECT 1 FROM events WHERE tenant_id = ?1 AND op = ?2`

// committed is for operations whose repetition finds its subject gone:
// errAlreadyDone when an earlier attempt was committed.
func (t *tx) committed(by meta.Cause, id tenant.ID) error {
	var one int
	found, err := t.find(findEvent, []any{id, by.Op[:]}, &one)
	if err == nil && found {
		err = errAlreadyDone
	}
	return err
}
