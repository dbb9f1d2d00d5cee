package meta

import (
	"context"
	"time"
)

// Operator is a person or a program that runs the deployment. It belongs to no tenant.
type Operator struct {
	ID          int64
	Slug        string
	DisplayName string
	Disabled    bool
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// OperatorName is the name of the operator with this slug: "operators/alice".
func OperatorName(slug string) string { return "operators/" + slug }

// OperatorLogin is an operator that was found by a token.
type OperatorLogin struct {
	Operator
	Token string // its name
}

// Operators keeps operators and their tokens, which are as the keys of accounts; absence is
// fault.ResourceUnknown. Their events are in the log of the deployment.
type Operators interface {
	CreateOperator(ctx context.Context, by Cause, o Operator) (Operator, error)
	FindOperator(ctx context.Context, slug string) (Operator, error)
	// ListOperators pages by slug.
	ListOperators(ctx context.Context, p Page) ([]Operator, error)
	// UpdateOperator changes DisplayName and Disabled; Version as in UpdateTenant.
	UpdateOperator(ctx context.Context, by Cause, o Operator) (Operator, error)
	// DeleteOperator removes the operator with its tokens.
	DeleteOperator(ctx context.Context, by Cause, slug string, version int64) error

	CreateOperatorToken(ctx context.Context, by Cause, slug string, k AccountKey) (AccountKey, error)
	ListOperatorTokens(ctx context.Context, slug string) ([]AccountKey, error)
	DeleteOperatorToken(ctx context.Context, by Cause, slug, name string) error

	// FindOperatorByToken finds the enabled operator that holds an unexpired token with this
	// hash, in one statement.
	FindOperatorByToken(ctx context.Context, hash [32]byte) (OperatorLogin, error)
}
