package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
)

// Lives of keys.
const (
	minTTL = time.Second
	maxTTL = 100 * 365 * 24 * time.Hour
)

// secretPrefix lets scanners of source code and logs recognise a secret.
const secretPrefix = password.SecretPrefix

// operatorPrefix begins the tokens of operators, so that they are looked up as such alone.
const operatorPrefix = secretPrefix + "operator_"

// newSecret makes a secret of 256 random bits after a prefix. It is worth as much as its
// randomness, so that one round of SHA-256 is enough to keep it.
func newSecret(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// newName makes the name of a secret, which is unique for its owner.
func newName() string { return strings.ToLower(rand.Text()[:12]) }

func (s *Service) accountKeys() accountKeys {
	return accountKeys{
		service: s, limit: s.limits.KeyLimit(), find: s.accountOwner(s.accounts().find),
		owners: []string{"tenants", "serviceAccounts"}, name: "keys", noun: "a key", prefix: secretPrefix,
		shortest: minTTL, longest: maxTTL, field: "key.ttl", limits: "1 second and 100 years",
	}
}

// CreateServiceAccountKey creates a key and returns its secret, only here.
func (s *Service) CreateServiceAccountKey(ctx context.Context, req *pb.CreateServiceAccountKeyRequest) (*pb.ServiceAccountKey, error) {
	k, secret, err := s.accountKeys().create(ctx, req.GetParent(), "", req.GetKey().GetTtl(), req.GetValidateOnly())
	if err != nil || req.GetValidateOnly() {
		return &pb.ServiceAccountKey{}, err
	}
	m := keyMessage(req.GetParent(), k)
	m.Secret = secret
	return m, nil
}

// ListServiceAccountKeys pages by name, without secrets.
func (s *Service) ListServiceAccountKeys(ctx context.Context, req *pb.ListServiceAccountKeysRequest) (*pb.ListServiceAccountKeysResponse, error) {
	rows, next, err := s.accountKeys().list(ctx, req)
	return &pb.ListServiceAccountKeysResponse{
		Keys:          mapped(rows, func(k meta.AccountKey) *pb.ServiceAccountKey { return keyMessage(req.GetParent(), k) }),
		NextPageToken: next,
	}, err
}

// DeleteServiceAccountKey removes a key; its secret is refused from then on.
func (s *Service) DeleteServiceAccountKey(ctx context.Context, req *pb.DeleteServiceAccountKeyRequest) (*emptypb.Empty, error) {
	return s.accountKeys().delete(ctx, req)
}

func keyMessage(account string, k meta.AccountKey) *pb.ServiceAccountKey {
	return &pb.ServiceAccountKey{
		Name:       account + "/keys/" + k.Name,
		CreateTime: timestamppb.New(k.CreatedAt), ExpireTime: timeOrNone(k.ExpiresAt),
		LastUsedTime: timeOrNone(k.UsedAt), LastUsedAddress: k.UsedFrom,
	}
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
	owner, err := s.accountKeys().find(ctx, "name", account)
	if err != nil {
		return err
	}
	keys, err := owner.list(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(keys, func(there meta.AccountKey) bool { return there.Name == k.ID }); i >= 0 {
		if keys[i].Hash == hash {
			return nil
		}
		if err := owner.delete(ctx, causedBy(ctx, "key", owner.detail(keys[i]), ""), k.ID); err != nil {
			return err
		}
	}
	made := meta.AccountKey{Name: k.ID, Hash: hash}
	_, err = owner.create(ctx, causedBy(ctx, "key", "", owner.detail(made)), made)
	return err
}
