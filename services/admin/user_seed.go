package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// seedUser is a user of a seed file, whose password is in a file beside it.
type seedUser struct {
	ID           string     `yaml:"id"`
	Fields       seedFields `yaml:",inline"`
	PasswordFile string     `yaml:"password_file"`
}

// read is the message of the user, and which of its fields are given.
func (u seedUser) read(dir string) (*pb.User, *fieldmaskpb.FieldMask, error) {
	m, mask, err := decoded[*pb.User](u.Fields)
	if err != nil || u.PasswordFile == "" {
		return m, mask, err
	}
	if m.Password, err = readSecret(dir, u.PasswordFile); err != nil {
		return m, mask, within("password_file", err)
	}
	mask.Paths = append(mask.Paths, "password")
	return m, mask, within("password_file", checkPassword("", m.GetPassword()))
}

func (k *seedChecker) user(u seedUser) error {
	m, _, err := u.read(k.dir)
	if err != nil {
		return err
	}
	if !u.Fields.has("role") {
		m.Role = someRole
	}
	_, err = checkUser(m)
	return err
}

func (s *Service) applyUser(ctx context.Context, parent string, u seedUser, dir string) error {
	m, mask, err := u.read(dir)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/users/", u.ID, m, mask, s.updateUser)
}
