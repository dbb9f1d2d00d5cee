package assemble

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// secretKeyFile is in the data directory.
const secretKeyFile = "secret-key"

// openSecrets opens the keyring: for passwords of upstreams and identity providers, and keys that
// sign tokens.
func (b *builder) openSecrets(ctx context.Context) error {
	var err error
	b.secrets, err = keyring(b.config, func() (string, error) { return sealedPassword(ctx, b.stores.meta) })
	return err
}

// keyring seals the passwords of upstreams and the keys that sign tokens: with the configured key, or the one
// in the data directory, which it makes where nothing was sealed yet: sealed
// names a password that was, or nothing. Keys that sign tokens do not count: new ones
// are made. A deployment on servers without a key has none, and keeps no passwords.
func keyring(c boot.Config, sealed func() (string, error)) (*seal.Keyring, error) {
	var keys [][]byte
	switch {
	case !c.SecretKey.IsZero():
		keys = append(keys, []byte(c.SecretKey.Reveal()))
	case c.Embedded():
		file := filepath.Join(c.DataDir, secretKeyFile)
		if err := notLost(file, sealed); err != nil {
			return nil, err
		}
		key, err := keptSecret(file, "the key of stored passwords", "")
		if err != nil {
			return nil, err
		}
		keys = append(keys, []byte(key))
	}
	if !c.OldSecretKey.IsZero() {
		keys = append(keys, []byte(c.OldSecretKey.Reveal()))
	}
	k, err := seal.New(keys...)
	if err != nil {
		return nil, fmt.Errorf("the key that seals passwords of upstreams and keys that sign tokens, which is secret_key or in the file %s of data_dir, cannot be used: %w", secretKeyFile, err)
	}
	return k, nil
}

// notLost refuses to continue where the file of the key is gone although something
// was sealed with it: a new key would open none of it.
func notLost(file string, sealed func() (string, error)) error {
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		return nil // reading it says what is wrong
	}
	name, err := sealed()
	if err != nil || name == "" {
		return err
	}
	return fmt.Errorf("the key of stored passwords is lost: %s is not there, and the password of %s is sealed with it. "+
		"Put the file back from a backup of data_dir, or set secret_key_file to a new key (`openssl rand -hex 32`) and give the passwords of all upstreams again", file, name)
}

// sealedPassword names an upstream or an identity provider that has a password, or a webhook;
// empty for none.
func sealedPassword(ctx context.Context, m meta.Store) (string, error) {
	const size = 1000
	if name, err := sealedProvider(ctx, m, meta.Deployment); err != nil || name != "" {
		return name, err
	}
	for page := (meta.Page{Size: size}); ; {
		tenants, err := m.ListTenants(ctx, page)
		if err != nil || len(tenants) == 0 {
			return "", err
		}
		for _, t := range tenants {
			upstreams, err := m.ListUpstreams(ctx, t.ID, meta.Page{Size: size})
			if err != nil {
				return "", err
			}
			for _, u := range upstreams {
				if len(u.Secrets()) > 0 {
					return "tenants/" + t.Slug + "/upstreams/" + u.Slug, nil
				}
			}
			if name, err := sealedProvider(ctx, m, t.ID); err != nil || name != "" {
				return "tenants/" + t.Slug + "/" + name, err // never both
			}
			hooks, err := m.ListWebhooks(ctx, t.ID, meta.Page{Size: 1})
			if err != nil {
				return "", err
			}
			if len(hooks) > 0 {
				return "tenants/" + t.Slug + "/" + hooks[0].Target(), nil
			}
		}
		page.After = tenants[len(tenants)-1].Slug
	}
}

// sealedProvider names an identity provider of a tenant that has a password; empty for none.
func sealedProvider(ctx context.Context, m meta.Store, t tenant.ID) (string, error) {
	const size = 1000
	found, err := m.ListIdentityProviders(ctx, t, meta.Page{Size: size})
	for _, p := range found {
		if len(p.Secret) > 0 {
			return "identityProviders/" + p.Slug, nil
		}
	}
	return "", err
}

// minSecret is the least length of a secret in characters, as of one that is
// configured.
const minSecret = 20

// keptSecret is what the file holds. A missing file is made, with a
// random secret after the prefix. what names it in errors.
func keptSecret(file, what, prefix string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return makeSecret(file, what, prefix)
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s in %s is empty: put one there, or remove the file and a new one is made", what, file)
	}
	if n := len(secret); n < minSecret {
		return "", fmt.Errorf("%s in %s has %d characters; put one of at least %d there, such as the output of `openssl rand -hex 32`, or remove the file and a new one is made", what, file, n, minSecret)
	}
	return secret, nil
}

// makeSecret writes the file so that it is there whole or not at all, and does
// not go with the power: what is sealed with a key that is lost is lost, too.
func makeSecret(file, what, prefix string) (string, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	secret := prefix + base64.RawURLEncoding.EncodeToString(random)
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, filepath.Base(file)+".*") // of mode 0600
	if err != nil {
		return "", fmt.Errorf("write %s: %w", what, err)
	}
	_, err = f.WriteString(secret + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", what, errors.Join(err, os.Remove(f.Name())))
	}
	if err := syncDirectory(dir); err != nil {
		return "", fmt.Errorf("write %s: %w", what, err)
	}
	return secret, nil
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// operatorTokenFile is in the data directory.
const operatorTokenFile = "operator-token"

// operatorToken returns the configured token, or the one in the data
// directory, which it makes at the first start, and then that file's path too.
func operatorToken(c boot.Config) (string, string, error) {
	if !c.OperatorToken.IsZero() {
		return c.OperatorToken.Reveal(), "", nil
	}
	file := filepath.Join(c.DataDir, operatorTokenFile)
	token, err := keptSecret(file, "the operator token", "berth_operator_")
	return token, file, err
}
