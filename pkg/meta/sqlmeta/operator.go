package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const (
	operatorColumns = `o.id, o.slug, o.display_name, o.disabled, o.version, o.created_at, o.updated_at`
	selectOperator  = `SELECT ` + operatorColumns + ` FROM operators o`
	findOperator    = selectOperator + ` WHERE o.slug = $1`
	listOperators   = selectOperator + ` WHERE o.slug > $1 ORDER BY o.slug LIMIT $2`

	insertOperator = `
INSERT INTO operators (slug, display_name, disabled, version, created_at, updated_at) VALUES ($1, $2, $3, 1, berth_now(), berth_now())`

	findOperatorRow = `SELECT id, version FROM operators WHERE slug = $1`
	lockOperatorRow = findOperatorRow + ` FOR UPDATE`

	updateOperator = `
UPDATE operators SET display_name = $2, disabled = $3, version = version + 1, updated_at = berth_now() WHERE id = $1`

	deleteOperator = `DELETE FROM operators WHERE id = $1`
)

// operatorDest is where operatorColumns are scanned to.
func operatorDest(o *meta.Operator) []any {
	return []any{&o.ID, &o.Slug, &o.DisplayName, &o.Disabled, &o.Version, timeScanner{&o.CreatedAt}, timeScanner{&o.UpdatedAt}}
}

func scanOperator(scan Scan) (meta.Operator, error) {
	var o meta.Operator
	err := scan(operatorDest(&o)...)
	return o, err
}

// FindOperator implements meta.Operators.
func (s *Records) FindOperator(ctx context.Context, slug string) (meta.Operator, error) {
	return find(ctx, s, noTenant, noOperator(slug), scanOperator, findOperator, slug)
}

// ListOperators implements meta.Operators.
func (s *Records) ListOperators(ctx context.Context, p meta.Page) ([]meta.Operator, error) {
	return list(ctx, s, noTenant, scanOperator, listOperators, p.After, p.Size)
}

// CreateOperator implements meta.Operators.
func (s *Records) CreateOperator(ctx context.Context, by meta.Cause, o meta.Operator) (meta.Operator, error) {
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := Event(t, by, meta.Deployment, "operator.create", meta.OperatorName(o.Slug)); err != nil {
			return err
		}
		t.OnViolation("operators_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "operator %q exists already", o.Slug))
		return t.Queue(insertOperator, o.Slug, o.DisplayName, o.Disabled)
	})
	if err != nil {
		return meta.Operator{}, err
	}
	return s.FindOperator(ctx, o.Slug)
}

// beginOperatorChange records the event of a change, locks the operator and checks its
// version. It returns the operator's ID.
func beginOperatorChange(t Tx, by meta.Cause, verb, slug, target string, version int64) (int64, error) {
	if err := Event(t, by, meta.Deployment, verb, target); err != nil {
		return 0, err
	}
	var id, have int64
	found, err := t.Find(t.Pick(findOperatorRow, lockOperatorRow), []any{slug}, &id, &have)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, noOperator(slug)
	default:
		return id, checkVersion(have, version)
	}
}

// UpdateOperator implements meta.Operators.
func (s *Records) UpdateOperator(ctx context.Context, by meta.Cause, o meta.Operator) (meta.Operator, error) {
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		id, err := beginOperatorChange(t, by, "operator.update", o.Slug, meta.OperatorName(o.Slug), o.Version)
		if err != nil {
			return err
		}
		if err := checkSame(id, o.ID, noOperator(o.Slug)); err != nil {
			return err
		}
		if o.Disabled {
			if err := t.Queue(deleteSessions, meta.Deployment, id); err != nil {
				return err
			}
		}
		return t.Queue(updateOperator, id, o.DisplayName, o.Disabled)
	})
	if err != nil {
		return meta.Operator{}, err
	}
	return s.FindOperator(ctx, o.Slug)
}

// DeleteOperator implements meta.Operators. Its tokens go with it.
func (s *Records) DeleteOperator(ctx context.Context, by meta.Cause, slug string, version int64) error {
	return s.remove(ctx, by, noTenant, func(t Tx) error {
		id, err := beginOperatorChange(t, by, "operator.delete", slug, meta.OperatorName(slug), version)
		if err != nil {
			return err
		}
		if err := t.Queue(deleteSessions, meta.Deployment, id); err != nil {
			return err
		}
		return t.Queue(deleteOperator, id)
	})
}

func noOperator(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no operator %q", slug)
}
