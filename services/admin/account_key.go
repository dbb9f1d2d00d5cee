package admin

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// accountKeys are the secrets of owners of one kind: the keys of service accounts, the access
// tokens of users, or the tokens of operators.
type accountKeys struct {
	service           *Service
	limit             meta.Limit
	owners            []string // as in resource names: "tenants", "serviceAccounts"
	name              string   // as in resource names: "keys"
	noun              string
	prefix            string        // of the secrets
	defaultTTL        time.Duration // 0 = for ever
	shortest, longest time.Duration
	field, limits     string    // of the lifetime in a request, and in words
	latest            time.Time // no key may end later; zero = no bound
	find              func(ctx context.Context, field, name string) (keyOwner, error)
}

// keyOwner has keys: an account, or an operator.
type keyOwner struct {
	right  string // that its keys give, for the audit log
	list   func(context.Context) ([]meta.AccountKey, error)
	create func(context.Context, meta.Cause, meta.AccountKey) (meta.AccountKey, error)
	delete func(ctx context.Context, by meta.Cause, key string) error
}

// accountOwner makes of a lookup of accounts one of owners.
func (s *Service) accountOwner(find func(ctx context.Context, field, name string) (meta.Tenant, meta.Account, error)) func(context.Context, string, string) (keyOwner, error) {
	return func(ctx context.Context, field, name string) (keyOwner, error) {
		_, a, err := find(ctx, field, name)
		return s.keysOf(a), err
	}
}

// keysOf is an account as the owner of keys.
func (s *Service) keysOf(a meta.Account) keyOwner {
	return keyOwner{
		right: "role " + string(a.Role),
		list: func(ctx context.Context) ([]meta.AccountKey, error) {
			return s.store.ListAccountKeys(ctx, a.Tenant, a.Kind, a.Slug)
		},
		create: func(ctx context.Context, by meta.Cause, k meta.AccountKey) (meta.AccountKey, error) {
			return s.store.CreateAccountKey(ctx, by, a.Tenant, a.Kind, a.Slug, k)
		},
		delete: func(ctx context.Context, by meta.Cause, key string) error {
			return s.store.DeleteAccountKey(ctx, by, a.Tenant, a.Kind, a.Slug, key)
		},
	}
}

// create makes a key of the owner at parent, and returns its secret.
func (c accountKeys) create(ctx context.Context, parent, note string, ttl *durationpb.Duration, validateOnly bool) (meta.AccountKey, string, error) {
	expires, err := c.expiry(ttl)
	if err != nil {
		return meta.AccountKey{}, "", err
	}
	owner, err := c.find(ctx, "parent", parent)
	if err != nil {
		return meta.AccountKey{}, "", err
	}
	keys, err := owner.list(ctx)
	if err != nil {
		return meta.AccountKey{}, "", err
	}
	if err := c.limit.Check(len(keys) + 1); err != nil || validateOnly {
		return meta.AccountKey{}, "", err
	}
	secret := newSecret(c.prefix)
	k := meta.AccountKey{
		Name:      newName(),
		Hash:      sha256.Sum256([]byte(secret)),
		Note:      note,
		ExpiresAt: expires,
	}
	k, err = owner.create(ctx, causedBy(ctx, "key", "", owner.detail(k)+madeWith(ctx)), k)
	return k, secret, err
}

// expiry is when a key of this lifetime ends; the zero time for none.
func (c accountKeys) expiry(ttl *durationpb.Duration) (time.Time, error) {
	switch {
	case ttl == nil && c.defaultTTL == 0:
		return c.latest, nil
	case ttl == nil:
		end := time.Now().Add(c.defaultTTL)
		if !c.latest.IsZero() && c.latest.Before(end) {
			end = c.latest
		}
		return end, nil
	}
	if d := ttl.AsDuration(); ttl.CheckValid() != nil || d < c.shortest || d > c.longest {
		return time.Time{}, invalid(c.field, "the lifetime of %s is between %s", c.noun, c.limits)
	}
	end := time.Now().Add(ttl.AsDuration())
	if !c.latest.IsZero() && end.After(c.latest) {
		return time.Time{}, invalid(c.field, "the token that you call with ends at %s, and makes none that ends later; leave ttl out for one that ends with it",
			c.latest.UTC().Format(time.RFC3339))
	}
	return end, nil
}

// keyListRequest lists the keys of an owner.
type keyListRequest interface {
	listRequest
	GetExpireBefore() *timestamppb.Timestamp
}

// list pages by name.
func (c accountKeys) list(ctx context.Context, req keyListRequest) ([]meta.AccountKey, string, error) {
	owner, err := c.find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, "", err
	}
	list, before := c.name, req.GetExpireBefore()
	if before != nil {
		if before.CheckValid() != nil {
			return nil, "", invalid("expire_before", "it is not a time from the year 1 to 9999")
		}
		list += ", expiring before " + before.AsTime().Format(time.RFC3339Nano)
	}
	keys, err := owner.list(ctx)
	if err != nil {
		return nil, "", err
	}
	keys = slices.DeleteFunc(keys, func(k meta.AccountKey) bool {
		return before != nil && (k.ExpiresAt.IsZero() || !k.ExpiresAt.Before(before.AsTime()))
	})
	return pageOfAll(c.service, list, req.GetParent(), req, keys, func(k meta.AccountKey) string { return k.Name })
}

// delete removes a key; its secret is refused from then on.
func (c accountKeys) delete(ctx context.Context, req deleteRequest) (*emptypb.Empty, error) {
	ids, err := splitName("name", req.GetName(), append(slices.Clip(c.owners), c.name)...)
	if err != nil {
		return nil, err
	}
	id := ids[len(ids)-1]
	owner, err := c.find(ctx, "name", strings.TrimSuffix(req.GetName(), "/"+c.name+"/"+id))
	if err != nil {
		return deleted(err, req)
	}
	if req.GetValidateOnly() {
		keys, err := owner.list(ctx)
		if err == nil && !slices.ContainsFunc(keys, func(k meta.AccountKey) bool { return k.Name == id }) {
			err = fault.New(fault.NotFound, fault.ResourceUnknown, "%s not found", strings.TrimPrefix(strings.TrimPrefix(c.noun, "a "), "an "))
		}
		return deleted(err, req)
	}
	return deleted(owner.delete(ctx, causedBy(ctx, "key", owner.detail(meta.AccountKey{Name: id}), ""), id), req)
}

// detail says of a key which right it gives, and how long.
func (o keyOwner) detail(k meta.AccountKey) string {
	detail := k.Name + " of " + o.right
	if !k.ExpiresAt.IsZero() {
		detail += " until " + k.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return detail
}

// madeWith names the session, key or token that the caller used: what it made outlives it, and
// is to be found if it was stolen.
func madeWith(ctx context.Context) string {
	c := callerOf(ctx)
	switch {
	case c.session != "":
		return ", made in session " + c.session
	case c.principal.Key != "":
		return ", made with " + c.principal.Key
	case c.name != "":
		return ", made with " + c.token
	default:
		return ""
	}
}

// timeOrNone is a time of a message; nil for the zero time.
func timeOrNone(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
