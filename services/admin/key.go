package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// Lives of keys.
const (
	minTTL = time.Second
	maxTTL = 100 * 365 * 24 * time.Hour
)

// secretPrefix lets scanners of source code and logs recognise a secret.
const secretPrefix = "berth_"

// newSecret makes a secret of 256 random bits. It is worth as much as its
// randomness, so that one round of SHA-256 is enough to keep it.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// CreateServiceAccountKey creates a key and returns its secret, only here.
func (s *Service) CreateServiceAccountKey(ctx context.Context, req *pb.CreateServiceAccountKeyRequest) (*pb.ServiceAccountKey, error) {
	expires, err := expiry(req.GetKey().GetTtl())
	if err != nil {
		return nil, err
	}
	t, a, err := s.accounts().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	keys, err := s.store.ListAccountKeys(ctx, t.ID, a.Kind, a.Slug)
	if err != nil {
		return nil, err
	}
	if err := s.limits.KeyLimit().Check(len(keys) + 1); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		return &pb.ServiceAccountKey{}, nil
	}
	secret := newSecret()
	k := meta.AccountKey{
		Name:      strings.ToLower(rand.Text()[:12]),
		Hash:      sha256.Sum256([]byte(secret)),
		ExpiresAt: expires,
	}
	k, err = s.store.CreateAccountKey(ctx, causedBy(ctx, "key", "", keyDetail(a, k)), t.ID, a.Kind, a.Slug, k)
	if err != nil {
		return nil, err
	}
	m := keyMessage(req.GetParent(), k)
	m.Secret = secret
	return m, nil
}

// ListServiceAccountKeys pages by name, without secrets.
func (s *Service) ListServiceAccountKeys(ctx context.Context, req *pb.ListServiceAccountKeysRequest) (*pb.ListServiceAccountKeysResponse, error) {
	t, a, err := s.accounts().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "keys", req.GetParent(), req,
		func(p meta.Page) ([]meta.AccountKey, error) {
			keys, err := s.store.ListAccountKeys(ctx, t.ID, a.Kind, a.Slug)
			if err != nil {
				return nil, err
			}
			slices.SortFunc(keys, func(x, y meta.AccountKey) int { return strings.Compare(x.Name, y.Name) })
			keys = slices.DeleteFunc(keys, func(k meta.AccountKey) bool { return k.Name <= p.After })
			return keys[:min(len(keys), p.Size)], nil
		},
		func(k meta.AccountKey) string { return k.Name })
	if err != nil {
		return nil, err
	}
	return &pb.ListServiceAccountKeysResponse{
		Keys:          mapped(rows, func(k meta.AccountKey) *pb.ServiceAccountKey { return keyMessage(req.GetParent(), k) }),
		NextPageToken: next,
	}, nil
}

// DeleteServiceAccountKey removes a key; its secret is refused from then on.
func (s *Service) DeleteServiceAccountKey(ctx context.Context, req *pb.DeleteServiceAccountKeyRequest) (*emptypb.Empty, error) {
	ids, err := splitName("name", req.GetName(), "tenants", "serviceAccounts", "keys")
	if err != nil {
		return nil, err
	}
	t, a, err := s.accounts().find(ctx, "name", "tenants/"+ids[0]+"/serviceAccounts/"+ids[1])
	if err != nil {
		return deleted(err, req)
	}
	if req.GetValidateOnly() {
		keys, err := s.store.ListAccountKeys(ctx, t.ID, a.Kind, a.Slug)
		if err == nil && !slices.ContainsFunc(keys, func(k meta.AccountKey) bool { return k.Name == ids[2] }) {
			err = fault.New(fault.NotFound, fault.ResourceUnknown, "key not found")
		}
		return deleted(err, req)
	}
	return deleted(s.store.DeleteAccountKey(ctx, causedBy(ctx, "key", keyDetail(a, meta.AccountKey{Name: ids[2]}), ""), t.ID, a.Kind, a.Slug, ids[2]), req)
}

// keyDetail says of a key which right it gives, and how long.
func keyDetail(a meta.Account, k meta.AccountKey) string {
	detail := k.Name + " of role " + string(a.Role)
	if !k.ExpiresAt.IsZero() {
		detail += " until " + k.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return detail
}

// expiry is when a key of this lifetime ends; the zero time for none.
func expiry(ttl *durationpb.Duration) (time.Time, error) {
	if ttl == nil {
		return time.Time{}, nil
	}
	if d := ttl.AsDuration(); ttl.CheckValid() != nil || d < minTTL || d > maxTTL {
		return time.Time{}, invalid("key.ttl", "the lifetime of a key is between 1 second and 100 years")
	}
	return time.Now().Add(ttl.AsDuration()), nil
}

func keyMessage(account string, k meta.AccountKey) *pb.ServiceAccountKey {
	m := &pb.ServiceAccountKey{
		Name:       account + "/keys/" + k.Name,
		CreateTime: timestamppb.New(k.CreatedAt),
	}
	if !k.ExpiresAt.IsZero() {
		m.ExpireTime = timestamppb.New(k.ExpiresAt)
	}
	return m
}

// seedKey is a key whose secret is in a file beside the seed file.
type seedKey struct {
	ID         string `yaml:"id"`
	SecretFile string `yaml:"secret_file"`
}

// hash reads the secret from its file, relative to dir.
func (k seedKey) hash(dir string) ([sha256.Size]byte, error) {
	if k.SecretFile == "" {
		return [sha256.Size]byte{}, invalid("secret_file", "it is missing; a key needs a file that holds its secret")
	}
	secret, err := readSecret(dir, k.SecretFile)
	if err != nil {
		return [sha256.Size]byte{}, within("secret_file", err)
	}
	if len(secret) < minSecret {
		return [sha256.Size]byte{}, invalid("secret_file", "the secret in %s has %d characters; it needs at least %d", k.SecretFile, len(secret), minSecret)
	}
	return sha256.Sum256([]byte(secret)), nil
}

// applyKey makes the key, or makes it again where its secret is another.
func (s *Service) applyKey(ctx context.Context, account string, k seedKey, dir string) error {
	if err := checkSeedID(k.ID); err != nil {
		return err
	}
	hash, err := k.hash(dir)
	if err != nil {
		return err
	}
	t, a, err := s.accounts().find(ctx, "name", account)
	if err != nil {
		return err
	}
	keys, err := s.store.ListAccountKeys(ctx, t.ID, a.Kind, a.Slug)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(keys, func(there meta.AccountKey) bool { return there.Name == k.ID }); i >= 0 {
		if keys[i].Hash == hash {
			return nil
		}
		if err := s.store.DeleteAccountKey(ctx, causedBy(ctx, "key", keyDetail(a, keys[i]), ""), t.ID, a.Kind, a.Slug, k.ID); err != nil {
			return err
		}
	}
	made := meta.AccountKey{Name: k.ID, Hash: hash}
	_, err = s.store.CreateAccountKey(ctx, causedBy(ctx, "key", "", keyDetail(a, made)), t.ID, a.Kind, a.Slug, made)
	return err
}
