package admin

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/webhooks"
)

// fieldWebhook begins the fields of a webhook in a request.
const fieldWebhook = "webhook."

// maxWebhookURL is how many bytes a URL may have.
const maxWebhookURL = 2048

func (s *Service) webhooks() collection[meta.Webhook, *pb.Webhook] {
	return collection[meta.Webhook, *pb.Webhook]{
		service: s, name: "webhooks", noun: "webhook", // UpdateWebhook does without updateRow
		new: func(_ context.Context, t meta.Tenant, slug string) meta.Webhook {
			return meta.Webhook{Tenant: t.ID, Slug: slug}
		},
		key: func(w meta.Webhook) (string, int64) { return w.Slug, w.Version },
		set: s.setWebhook, show: shown(webhookMessage),
		limit: s.limits.WebhookLimit(), findRow: s.store.FindWebhook, listRows: s.store.ListWebhooks,
		createRow: s.store.CreateWebhook, deleteRow: s.store.DeleteWebhook,
	}
}

// CreateWebhook makes a webhook. It gets the events that begin after the answer.
func (s *Service) CreateWebhook(ctx context.Context, req *pb.CreateWebhookRequest) (*pb.Webhook, error) {
	return s.webhooks().create(ctx, req.GetParent(), req.GetWebhookId(), req.GetWebhook(), req.GetValidateOnly())
}

// GetWebhook returns one webhook, without its secret.
func (s *Service) GetWebhook(ctx context.Context, req *pb.GetWebhookRequest) (*pb.Webhook, error) {
	return s.webhooks().get(ctx, req.GetName())
}

// ListWebhooks pages by slug.
func (s *Service) ListWebhooks(ctx context.Context, req *pb.ListWebhooksRequest) (*pb.ListWebhooksResponse, error) {
	rows, next, err := s.webhooks().list(ctx, req)
	return &pb.ListWebhooksResponse{Webhooks: rows, NextPageToken: next}, err
}

// UpdateWebhook changes a webhook.
func (s *Service) UpdateWebhook(ctx context.Context, req *pb.UpdateWebhookRequest) (*pb.Webhook, error) {
	return s.updateWebhook(ctx, req, req.GetWebhook())
}

// updateWebhook is not collection.update, for a secret is never shown: what an update does not
// name stays.
func (s *Service) updateWebhook(ctx context.Context, req updateRequest, m *pb.Webhook) (*pb.Webhook, error) {
	c := s.webhooks()
	t, w, err := c.find(ctx, "webhook.name", m.GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		return c.createNamed(ctx, m, req.GetValidateOnly())
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(m.GetEtag(), w.Version); err != nil {
		return nil, err
	}
	before := webhookMessage(t, w)
	before.Secret = unchangedSecret
	after := proto.CloneOf(before)
	if err := merge("webhook", after, m, req.GetUpdateMask()); err != nil {
		return nil, err
	}
	if after.GetSecret() == "" { // as it was read
		after.Secret = unchangedSecret
	}
	s.sameWebhookSecret(w, after)
	was := w
	if err := s.setWebhook(ctx, t, &w, after); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() || after.GetSecret() == unchangedSecret && proto.Equal(webhookMessage(t, was), webhookMessage(t, w)) {
		return webhookMessage(t, w), nil
	}
	if w, err = s.store.UpdateWebhook(ctx, caused(ctx, before, after), w); err != nil {
		return nil, err
	}
	return webhookMessage(t, w), nil
}

// sameWebhookSecret takes the secret that the webhook has already for none, so that a seed file
// that is applied again changes nothing.
func (s *Service) sameWebhookSecret(w meta.Webhook, m *pb.Webhook) {
	if secret, err := s.secrets.Open(w.Secret, w.SecretName()); err == nil && secret == m.GetSecret() {
		m.Secret = unchangedSecret
	}
}

// DeleteWebhook removes a webhook with its deliveries.
func (s *Service) DeleteWebhook(ctx context.Context, req *pb.DeleteWebhookRequest) (*emptypb.Empty, error) {
	return s.webhooks().delete(ctx, req, req.GetEtag())
}

// setWebhook takes over what a client may set. The registry must be there when it is named; it
// may be deleted later.
func (s *Service) setWebhook(ctx context.Context, t meta.Tenant, w *meta.Webhook, m *pb.Webhook) error {
	next, err := webhookOf(m)
	if err != nil {
		return err
	}
	if next.Registry != "" && next.Registry != w.Registry {
		if _, err := s.store.FindRegistry(ctx, t.ID, next.Registry); fault.Is(err, fault.ResourceUnknown) {
			return invalid(fieldWebhook+"registry", "%s %q not found in this tenant", kindRegistry, next.Registry)
		} else if err != nil {
			return err
		}
	}
	if next.URL != w.URL {
		if err := checkWebhookAddress(ctx, s.chains.CheckAddress, t.Slug, next.URL); err != nil {
			return err
		}
	}
	next.Tenant, next.ID, next.Slug, next.Version, next.CreatedAt, next.UpdatedAt = w.Tenant, w.ID, w.Slug, w.Version, w.CreatedAt, w.UpdatedAt
	next.Secret, next.PreviousSecret, next.PreviousUntil = w.Secret, w.PreviousSecret, w.PreviousUntil
	if next.Disabled {
		next.DisabledReason = w.DisabledReason
	}
	if m.GetSecret() != unchangedSecret || len(w.Secret) == 0 {
		if next.Secret, err = s.sealWebhookSecret(next, m.GetSecret()); err != nil {
			return err
		}
	}
	*w = next
	return nil
}

func (s *Service) sealWebhookSecret(w meta.Webhook, secret string) ([]byte, error) {
	if err := checkWebhookSecret(secret); err != nil {
		return nil, err
	}
	if s.secrets.Empty() {
		return nil, invalid(fieldWebhook+"secret", "this deployment has no key to keep secrets with: its operator must set secret_key_file")
	}
	return s.secrets.Seal(secret, w.SecretName())
}

func checkWebhookSecret(secret string) error {
	if secret == "" || secret == unchangedSecret {
		return invalid(fieldWebhook+"secret", `it is missing; make one with: printf 'whsec_%%s\n' "$(openssl rand -base64 32)"`)
	}
	if err := webhooks.CheckSecret(secret); err != nil {
		return invalid(fieldWebhook+"secret", "%v", err)
	}
	return nil
}

// eventPattern is a verb of events, with * for one of its parts or both.
var eventPattern = regexp.MustCompile(`^(\*|(\*|[a-z][A-Za-z]{0,31})\.(\*|[a-z][a-z_]{0,31}))$`)

// webhookOf reads the webhook that a client sets. It checks all but its secret, its address, and
// whether its registry is there.
func webhookOf(m *pb.Webhook) (meta.Webhook, error) {
	w := meta.Webhook{
		URL: m.GetUrl(), Format: meta.CloudEvents, Events: m.GetEvents(), Registry: m.GetRegistry(), Repositories: m.GetRepositories(),
		DisplayName: m.GetDisplayName(), Disabled: m.GetDisabled(),
	}
	if err := checkDisplayName(fieldWebhook+"display_name", w.DisplayName); err != nil {
		return w, err
	}
	if err := checkWebhookURL(w.URL); err != nil {
		return w, err
	}
	switch m.GetFormat() {
	case pb.Webhook_FORMAT_UNSPECIFIED, pb.Webhook_CLOUDEVENTS:
	case pb.Webhook_DISTRIBUTION:
		w.Format = meta.DistributionNotifications
	default:
		return w, invalid(fieldWebhook+"format", "%d is not a format; it is one of CLOUDEVENTS, DISTRIBUTION", m.GetFormat())
	}
	if w.Registry != "" {
		if err := checkSlug(fieldWebhook+"registry", w.Registry); err != nil {
			return w, err
		}
	}
	if err := checkEntries(fieldWebhook+"events", w.Events, checkEventPattern); err != nil {
		return w, err
	}
	return w, checkEntries(fieldWebhook+"repositories", w.Repositories, checkRuleRepository)
}

func checkEventPattern(field, pattern string) error {
	if !eventPattern.MatchString(pattern) {
		return invalid(field, "%q is not a pattern of events, such as manifest.put, manifest.*, *.delete or *", clipped(pattern))
	}
	return nil
}

func checkWebhookURL(text string) error {
	const field = fieldWebhook + "url"
	u, err := url.Parse(text)
	switch {
	case text == "":
		return invalid(field, "it is missing, such as https://ci.example.com/hooks/berth")
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return invalid(field, "it is not a URL such as https://ci.example.com/hooks/berth")
	case len(text) > maxWebhookURL:
		return invalid(field, "%d bytes exceed the maximum of %d", len(text), maxWebhookURL)
	case u.Scheme != "https" && u.Scheme != "http":
		return invalid(field, "its scheme is neither https nor http")
	case u.User != nil:
		return invalid(field, "it has a user or a password; requests are signed instead")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return invalid(field, "it has a fragment, which is never sent")
	}
	return nil
}

// checkWebhookAddress refuses a URL that is never connected to.
func checkWebhookAddress(ctx context.Context, check func(ctx context.Context, slug, proxy, url string) error, slug, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if err := check(ctx, slug, "", u.Scheme+"://"+u.Host); err != nil {
		if fault.KindOf(err) != fault.Invalid {
			return err
		}
		return invalid(fieldWebhook+"url", "%q is refused by configuration: webhooks are at public addresses by https, and in the networks of upstream_allow", clipped(u.Scheme+"://"+u.Host))
	}
	return nil
}

func webhookMessage(t meta.Tenant, w meta.Webhook) *pb.Webhook {
	m := &pb.Webhook{
		Name: webhookName(t, w), DisplayName: w.DisplayName, Url: w.URL, Format: pb.Webhook_CLOUDEVENTS,
		Events: w.Events, Registry: w.Registry, Repositories: w.Repositories, Disabled: w.Disabled, DisabledReason: w.DisabledReason,
	}
	if w.Format == meta.DistributionNotifications {
		m.Format = pb.Webhook_DISTRIBUTION
	}
	if w.Version != 0 { // else it was only validated
		m.Etag = etag(w.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(w.CreatedAt), timestamppb.New(w.UpdatedAt)
	}
	return m
}

func webhookName(t meta.Tenant, w meta.Webhook) string {
	return fmt.Sprintf("tenants/%s/webhooks/%s", t.Slug, w.Slug)
}
