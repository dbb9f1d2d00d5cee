package admin

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// collection is the resources of one kind that a tenant has, or the deployment. It says
// what is particular to them; its methods create, get, list, update and delete them all
// alike. R is a resource as the store has it, M its message.
type collection[R any, M message] struct {
	service *Service
	name    string // as in the names of its resources: "serviceAccounts"
	noun    string // as in the fields of requests: "service_account"

	ofDeployment bool // they are of no tenant: their names begin with the collection's

	id  func(ctx context.Context, given string) (string, error) // checks the ID of a new one; nil: it is a slug
	new func(ctx context.Context, t meta.Tenant, id string) R
	key func(R) (id string, version int64)
	// set takes over what a client may set, checked. A new resource has version 0.
	set func(ctx context.Context, t meta.Tenant, r *R, m M) error
	// show prepares to show resources of the tenant: what all need is read once.
	show func(ctx context.Context, t meta.Tenant) (func(R) M, error)

	limit     meta.Limit
	findRow   func(ctx context.Context, t tenant.ID, id string) (R, error)
	listRows  func(ctx context.Context, t tenant.ID, p meta.Page) ([]R, error)
	createRow func(ctx context.Context, by meta.Cause, r R) (R, error)
	updateRow func(ctx context.Context, by meta.Cause, r R) (R, error)
	deleteRow func(ctx context.Context, by meta.Cause, t tenant.ID, id string, version int64) error

	// findAny and listAll also give deleted ones that can be taken back; nil: what
	// is deleted is gone.
	findAny    func(ctx context.Context, t tenant.ID, id string) (R, error)
	listAll    func(ctx context.Context, t tenant.ID, p meta.Page) ([]R, error)
	deletedToo bool
}

// withDeleted is the collection with deleted ones that can be taken back.
func (c collection[R, M]) withDeleted() collection[R, M] {
	if c.findAny != nil {
		c.findRow, c.listRows, c.deletedToo = c.findAny, c.listAll, true
	}
	return c
}

// message is a resource as clients see it.
type message interface {
	proto.Message
	GetName() string
	GetEtag() string
}

// shown is collection.show for a message that needs only the tenant and the resource.
func shown[R, M any](message func(meta.Tenant, R) M) func(context.Context, meta.Tenant) (func(R) M, error) {
	return func(_ context.Context, t meta.Tenant) (func(R) M, error) {
		return func(r R) M { return message(t, r) }, nil
	}
}

func (c collection[R, M]) create(ctx context.Context, parent, id string, m M, validateOnly bool) (M, error) {
	var none M
	var err error
	if c.id != nil {
		id, err = c.id(ctx, id)
	} else {
		err = checkSlug(c.noun+"_id", id)
	}
	if err != nil {
		return none, err
	}
	t, err := c.owner(ctx, parent)
	if err != nil {
		return none, err
	}
	r := c.new(ctx, t, id)
	if err := c.set(ctx, t, &r, m); err != nil {
		return none, err
	}
	show, err := c.show(ctx, t)
	if err != nil {
		return none, err
	}
	if validateOnly {
		err = c.mayAdd(ctx, t, id)
	} else {
		r, err = c.createRow(ctx, creating(ctx, show(r)), r)
	}
	if err != nil {
		return none, err
	}
	return show(r), nil
}

// mayAdd says for a creation that is only validated what the store would say.
func (c collection[R, M]) mayAdd(ctx context.Context, t meta.Tenant, id string) error {
	c = c.withDeleted() // they hold their IDs, and count
	if err := absent(c.findRow(ctx, t.ID, id)); err != nil {
		return err
	}
	return room(c.limit, func(p meta.Page) ([]R, error) { return c.listRows(ctx, t.ID, p) })
}

func (c collection[R, M]) get(ctx context.Context, name string) (M, error) {
	var none M
	t, r, err := c.find(ctx, "name", name)
	if err != nil {
		return none, err
	}
	show, err := c.show(ctx, t)
	if err != nil {
		return none, err
	}
	return show(r), nil
}

type listRequest interface {
	pageRequest
	GetParent() string
}

// list pages by ID.
func (c collection[R, M]) list(ctx context.Context, req listRequest) ([]M, string, error) {
	t, err := c.owner(ctx, req.GetParent())
	if err != nil {
		return nil, "", err
	}
	list := c.name
	if c.deletedToo {
		list += ", deleted ones too"
	}
	rows, next, err := listPage(c.service, list, req.GetParent(), req,
		func(p meta.Page) ([]R, error) { return c.listRows(ctx, t.ID, p) },
		func(r R) string { id, _ := c.key(r); return id })
	if err != nil {
		return nil, "", err
	}
	show, err := c.show(ctx, t)
	if err != nil {
		return nil, "", err
	}
	return mapped(rows, show), next, nil
}

type updateRequest interface {
	GetUpdateMask() *fieldmaskpb.FieldMask
	GetAllowMissing() bool
	GetValidateOnly() bool
}

// update stores and records nothing where nothing changes.
func (c collection[R, M]) update(ctx context.Context, req updateRequest, m M) (M, error) {
	var none M
	t, r, err := c.find(ctx, c.noun+".name", m.GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		return c.createNamed(ctx, m, req.GetValidateOnly())
	}
	if err != nil {
		return none, err
	}
	_, version := c.key(r)
	if err := checkEtag(m.GetEtag(), version); err != nil {
		return none, err
	}
	show, err := c.show(ctx, t)
	if err != nil {
		return none, err
	}
	before := show(r)
	after := proto.CloneOf(before)
	if err := merge(c.noun, after, m, req.GetUpdateMask()); err != nil {
		return none, err
	}
	if err := c.set(ctx, t, &r, after); err != nil {
		return none, err
	}
	after = show(r) // what was not specified has its default now
	if req.GetValidateOnly() || proto.Equal(before, after) {
		return after, nil
	}
	if r, err = c.updateRow(ctx, caused(ctx, before, after), r); err != nil {
		return none, err
	}
	return show(r), nil
}

type deleteRequest interface {
	GetName() string
	GetAllowMissing() bool
	GetValidateOnly() bool
}

func (c collection[R, M]) delete(ctx context.Context, req deleteRequest, etag string) (*emptypb.Empty, error) {
	t, r, err := c.find(ctx, "name", req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	id, version := c.key(r)
	if err := checkEtag(etag, version); err != nil {
		return deleted(err, req)
	}
	show, err := c.show(ctx, t)
	if err != nil {
		return nil, err
	}
	by := deleting(ctx, show(r))
	by.ValidateOnly = req.GetValidateOnly()
	return deleted(c.deleteRow(ctx, by, t.ID, id, version), req)
}
