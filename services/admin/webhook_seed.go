package admin

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// seedWebhook may have its secret in a file beside the seed file.
type seedWebhook struct {
	ID         string     `yaml:"id"`
	Fields     seedFields `yaml:",inline"`
	SecretFile string     `yaml:"secret_file"`
}

// read is the webhook's message, with its secret, and which fields are given.
func (w seedWebhook) read(dir string) (*pb.Webhook, *fieldmaskpb.FieldMask, error) {
	m, mask, err := decoded[*pb.Webhook](w.Fields)
	if err != nil || w.SecretFile == "" {
		return m, mask, err
	}
	m.Secret, err = readSecret(dir, w.SecretFile)
	mask.Paths = append(mask.Paths, "secret")
	return m, mask, within("secret_file", err)
}

// webhooks checks those of a tenant.
func (k *seedChecker) webhooks(at, tenantSlug string, all []seedWebhook) {
	k.ids(at, mapped(all, func(r seedWebhook) string { return r.ID }))
	for i, r := range all {
		k.note(fmt.Sprintf("%s[%d]", at, i), k.webhook(tenantSlug, r))
	}
}

// webhook checks one, which may leave what it does not change to the webhook that the tenant has
// already.
func (k *seedChecker) webhook(tenantSlug string, w seedWebhook) error {
	m, _, err := w.read(k.dir)
	if err != nil {
		return err
	}
	if !w.Fields.has("url") {
		m.Url = someURL
	}
	if _, err := webhookOf(m); err != nil {
		return err
	}
	if m.GetSecret() != "" {
		if err := checkWebhookSecret(m.GetSecret()); err != nil {
			return err
		}
	}
	if !w.Fields.has("url") {
		return nil
	}
	return checkWebhookAddress(k.ctx, k.CheckAddress, tenantSlug, m.GetUrl())
}

func (s *Service) applyWebhook(ctx context.Context, parent string, w seedWebhook, dir string) error {
	m, mask, err := w.read(dir)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/webhooks/", w.ID, m, mask, s.updateWebhook)
}
