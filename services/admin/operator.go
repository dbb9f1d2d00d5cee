package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func (s *Service) operators() collection[meta.Operator, *pb.Operator] {
	return collection[meta.Operator, *pb.Operator]{
		service: s, name: "operators", noun: "operator", ofDeployment: true,
		new: func(_ context.Context, _ meta.Tenant, slug string) meta.Operator { return meta.Operator{Slug: slug} },
		key: func(o meta.Operator) (string, int64) { return o.Slug, o.Version },
		set: func(ctx context.Context, _ meta.Tenant, o *meta.Operator, m *pb.Operator) error {
			return setOperator(ctx, o, m)
		},
		show:  shown(func(_ meta.Tenant, o meta.Operator) *pb.Operator { return operatorMessage(o) }),
		limit: noLimit, // operators make them, as they make tenants
		findRow: func(ctx context.Context, _ tenant.ID, slug string) (meta.Operator, error) {
			return s.store.FindOperator(ctx, slug)
		},
		listRows: func(ctx context.Context, _ tenant.ID, p meta.Page) ([]meta.Operator, error) {
			return s.store.ListOperators(ctx, p)
		},
		createRow: s.store.CreateOperator, updateRow: s.store.UpdateOperator,
		deleteRow: func(ctx context.Context, by meta.Cause, _ tenant.ID, slug string, version int64) error {
			return s.store.DeleteOperator(ctx, by, slug, version)
		},
	}
}

// CreateOperator makes an operator without a token.
func (s *Service) CreateOperator(ctx context.Context, req *pb.CreateOperatorRequest) (*pb.Operator, error) {
	return s.operators().create(ctx, "", req.GetOperatorId(), req.GetOperator(), req.GetValidateOnly())
}

// GetOperator returns one operator.
func (s *Service) GetOperator(ctx context.Context, req *pb.GetOperatorRequest) (*pb.Operator, error) {
	return s.operators().get(ctx, req.GetName())
}

// withoutParent is a page of a list of the deployment.
type withoutParent struct{ pageRequest }

// GetParent implements listRequest.
func (withoutParent) GetParent() string { return "" }

// ListOperators pages by slug.
func (s *Service) ListOperators(ctx context.Context, req *pb.ListOperatorsRequest) (*pb.ListOperatorsResponse, error) {
	rows, next, err := s.operators().list(ctx, withoutParent{req})
	return &pb.ListOperatorsResponse{Operators: rows, NextPageToken: next}, err
}

// UpdateOperator changes display name and whether the operator is disabled.
func (s *Service) UpdateOperator(ctx context.Context, req *pb.UpdateOperatorRequest) (*pb.Operator, error) {
	return s.operators().update(ctx, req, req.GetOperator())
}

// DeleteOperator removes an operator with its tokens.
func (s *Service) DeleteOperator(ctx context.Context, req *pb.DeleteOperatorRequest) (*emptypb.Empty, error) {
	if req.GetName() == callerOf(ctx).actor() {
		return nil, errOneself("deletes")
	}
	return s.operators().delete(ctx, req, req.GetEtag())
}

// setOperator takes over what a client may set.
func setOperator(ctx context.Context, o *meta.Operator, m *pb.Operator) error {
	if err := checkDisplayName("operator.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	if m.GetDisabled() && !o.Disabled && meta.OperatorName(o.Slug) == callerOf(ctx).actor() {
		return errOneself("disables")
	}
	o.DisplayName, o.Disabled = m.GetDisplayName(), m.GetDisabled()
	return nil
}

// errOneself refuses a change that would end its caller's own access.
func errOneself(does string) error {
	return fault.New(fault.Conflict, fault.UnsupportedReason, "no operator %s itself; let another operator do it, or use the operator token of the configuration", does)
}

func operatorMessage(o meta.Operator) *pb.Operator {
	m := &pb.Operator{Name: meta.OperatorName(o.Slug), DisplayName: o.DisplayName, Disabled: o.Disabled}
	if o.ID != 0 { // else it was only validated
		m.Etag = etag(o.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(o.CreatedAt), timestamppb.New(o.UpdatedAt)
	}
	return m
}
