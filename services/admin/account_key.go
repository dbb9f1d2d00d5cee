package admin

import (
	"context"
	"crypto/rand"
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

// accountKeys are the secrets of accounts of one kind: the keys of service accounts, the
// access tokens of users, or the tokens of operators, which are accounts here.
type accountKeys struct {
	service       *Service
	store         meta.AccountKeys
	limit         meta.Limit
	owners        []string // as in resource names: "tenants", "serviceAccounts"
	name          string   // as in resource names: "keys"
	noun          string
	prefix        string        // of the secrets
	defaultTTL    time.Duration // 0 = for ever
	shortest, ttl time.Duration // the least and the most
	field, limits string        // of the lifetime in a request, and in words
	latest        time.Time     // no key may end later; zero = no bound
	find          func(ctx context.Context, field, name string) (meta.Tenant, meta.Account, error)
}

// create makes a key of the account at parent, and returns its secret.
func (c accountKeys) create(ctx context.Context, parent, note string, ttl *durationpb.Duration, validateOnly bool) (meta.AccountKey, string, error) {
	expires, err := c.expiry(ttl)
	if err != nil {
		return meta.AccountKey{}, "", err
	}
	t, a, err := c.find(ctx, "parent", parent)
	if err != nil {
		return meta.AccountKey{}, "", err
	}
	keys, err := c.store.ListAccountKeys(ctx, t.ID, a.Kind, a.Slug)
	if err != nil {
		return meta.AccountKey{}, "", err
	}
	if err := c.limit.Check(len(keys) + 1); err != nil || validateOnly {
		return meta.AccountKey{}, "", err
	}
	secret := newSecret(c.prefix)
	k := meta.AccountKey{
		Name:      strings.ToLower(rand.Text()[:12]),
		Hash:      sha256.Sum256([]byte(secret)),
		Note:      note,
		ExpiresAt: expires,
	}
	k, err = c.store.CreateAccountKey(ctx, causedBy(ctx, "key", "", keyDetail(a, k)+madeWith(ctx)), t.ID, a.Kind, a.Slug, k)
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
	if d := ttl.AsDuration(); ttl.CheckValid() != nil || d < c.shortest || d > c.ttl {
		return time.Time{}, invalid(c.field, "the lifetime of %s is between %s", c.noun, c.limits)
	}
	end := time.Now().Add(ttl.AsDuration())
	if !c.latest.IsZero() && end.After(c.latest) {
		return time.Time{}, invalid(c.field, "the token that you call with ends at %s, and makes none that ends later; leave ttl out for one that ends with it",
			c.latest.UTC().Format(time.RFC3339))
	}
	return end, nil
}

// keyListRequest lists the keys of an account.
type keyListRequest interface {
	listRequest
	GetExpireBefore() *timestamppb.Timestamp
}

// list pages by name.
func (c accountKeys) list(ctx context.Context, req keyListRequest) ([]meta.AccountKey, string, error) {
	t, a, err := c.find(ctx, "parent", req.GetParent())
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
	return listPage(c.service, list, req.GetParent(), req,
		func(p meta.Page) ([]meta.AccountKey, error) {
			keys, err := c.store.ListAccountKeys(ctx, t.ID, a.Kind, a.Slug)
			if err != nil {
				return nil, err
			}
			slices.SortFunc(keys, func(x, y meta.AccountKey) int { return strings.Compare(x.Name, y.Name) })
			keys = slices.DeleteFunc(keys, func(k meta.AccountKey) bool {
				return k.Name <= p.After || before != nil && (k.ExpiresAt.IsZero() || !k.ExpiresAt.Before(before.AsTime()))
			})
			return keys[:min(len(keys), p.Size)], nil
		},
		func(k meta.AccountKey) string { return k.Name })
}

// delete removes a key; its secret is refused from then on.
func (c accountKeys) delete(ctx context.Context, req deleteRequest) (*emptypb.Empty, error) {
	ids, err := splitName("name", req.GetName(), append(slices.Clip(c.owners), c.name)...)
	if err != nil {
		return nil, err
	}
	id := ids[len(ids)-1]
	t, a, err := c.find(ctx, "name", strings.TrimSuffix(req.GetName(), "/"+c.name+"/"+id))
	if err != nil {
		return deleted(err, req)
	}
	if req.GetValidateOnly() {
		keys, err := c.store.ListAccountKeys(ctx, t.ID, a.Kind, a.Slug)
		if err == nil && !slices.ContainsFunc(keys, func(k meta.AccountKey) bool { return k.Name == id }) {
			err = fault.New(fault.NotFound, fault.ResourceUnknown, "%s not found", strings.TrimPrefix(strings.TrimPrefix(c.noun, "a "), "an "))
		}
		return deleted(err, req)
	}
	return deleted(c.store.DeleteAccountKey(ctx, causedBy(ctx, "key", keyDetail(a, meta.AccountKey{Name: id}), ""), t.ID, a.Kind, a.Slug, id), req)
}

// keyDetail says of a key which right it gives, and how long.
func keyDetail(a meta.Account, k meta.AccountKey) string {
	detail := k.Name + " of role " + string(a.Role)
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
