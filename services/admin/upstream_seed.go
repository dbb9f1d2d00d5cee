package admin

import (
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// seedUpstream may have its secrets in files beside the seed file.
type seedUpstream struct {
	ID            string     `yaml:"id"`
	Fields        seedFields `yaml:",inline"`
	PasswordFile  string     `yaml:"password_file"`
	ClientKeyFile string     `yaml:"client_key_file"`
}

// read is the upstream's message, with its secrets, and which fields are given.
func (u seedUpstream) read(dir string) (*pb.Upstream, *fieldmaskpb.FieldMask, error) {
	fields, err := u.Fields.withSecretsOfParts(dir)
	if err != nil {
		return nil, nil, err
	}
	m, mask, err := decoded[*pb.Upstream](fields)
	for _, secret := range []struct {
		field, file string
		to          *string
	}{{"password", u.PasswordFile, &m.Password}, {"client_key", u.ClientKeyFile, &m.ClientKey}} {
		if err != nil || secret.file == "" {
			continue
		}
		*secret.to, err = readSecret(dir, secret.file)
		mask.Paths = append(mask.Paths, secret.field)
		err = within(secret.field+"_file", err)
	}
	return m, mask, err
}

// Values of what a file leaves to the resource that the tenant has already, for
// checking the rest.
const (
	someURL      = "https://upstream.invalid"
	someUsername = "user"
	someRole     = pb.ServiceAccount_READER
)

func (k *seedChecker) upstream(tenantSlug string, u seedUpstream) error {
	m, _, err := u.read(k.dir)
	if err != nil {
		return err
	}
	if !u.Fields.has("url") {
		m.Url = someURL
	}
	if !u.Fields.has("username") && m.GetCredentialHelper() == "" {
		m.Username = someUsername
	}
	row := meta.Upstream{Slug: u.ID}
	if err := k.service.configure(&row, m); err != nil || !u.Fields.has("url") {
		return err
	}
	if err := k.CheckAddress(k.ctx, tenantSlug, row.Settings.Proxy, row.Settings.URL); err != nil || row.Settings.CredentialHelper == "" {
		return err
	}
	return k.CheckHelper(row.Settings.CredentialHelper, tenantSlug, row.Settings.URL)
}
