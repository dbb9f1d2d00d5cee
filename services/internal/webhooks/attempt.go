package webhooks

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/boot/logs"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// Bounds of an answer.
const (
	maxAnswer  = 64 << 10 // bytes that are read, so that the connection can be used again
	maxExcerpt = 512      // bytes that the log of deliveries keeps
)

// The waits between attempts, which jitter makes up to a quarter shorter or longer.
const (
	firstWait   = 5 * time.Second
	waitsGrow   = 3
	longestWait = time.Hour
)

// deliver makes one attempt, and records how it ended.
func (s *Sender) deliver(ctx context.Context, w meta.ClaimedWebhook, d meta.Delivery, claim uuid.UUID) {
	began := time.Now()
	r := s.attempt(ctx, w, d)
	if ctx.Err() != nil {
		return // it is not known what the receiver has; it gets it again
	}
	s.metrics.took.Observe(time.Since(began).Seconds())
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancel()
	recorded, err := s.Meta.RecordAttempt(recording, d, claim, r)
	if err == nil && recorded && r.Status == http.StatusGone {
		by := meta.Cause{Op: uuid.New(), Actor: w.Target(), Changes: []meta.Change{{Field: "disabled", Old: "false", New: "true"}}}
		err = s.Meta.DisableWebhook(recording, by, w.Webhook, "the receiver answered 410 Gone")
	}
	if err != nil {
		s.Log.ErrorContext(ctx, "the result of a webhook's delivery is not recorded; it is sent again", "tenant", w.TenantSlug, "webhook", w.Slug, "delivery", d.ID, "error", err)
		s.metrics.errors.Inc()
		return
	}
	s.metrics.attempted(r)
}

// attempt sends the delivery once.
func (s *Sender) attempt(ctx context.Context, w meta.ClaimedWebhook, d meta.Delivery) meta.DeliveryResult {
	retry := meta.DeliveryResult{State: meta.DeliveryPending, After: wait(d.Attempts)}
	req, err := s.request(ctx, w, d)
	if err != nil {
		retry.Failure = fault.From(err).Message
		return retry
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := http.Client{
		Transport:     s.Transport(w.TenantSlug),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		s.Log.DebugContext(ctx, "a webhook got no answer", "tenant", w.TenantSlug, "webhook", w.Slug, "delivery", d.ID, "error", hidden(err))
		retry.Failure = noAnswer
		return retry
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status decides
	r := meta.DeliveryResult{State: meta.DeliveryDelivered, Status: int64(resp.StatusCode), Response: excerpt(text)}
	switch {
	case resp.StatusCode/100 == 2:
		return r
	case resp.StatusCode == http.StatusGone:
		r.State, r.Failure = meta.DeliveryDead, "the receiver answered 410 Gone, which disables the webhook"
		return r
	case resp.StatusCode/100 == 3:
		r.Failure = fmt.Sprintf("the receiver answered %d; redirects are not followed", resp.StatusCode)
	default:
		r.Failure = fmt.Sprintf("the receiver answered %d", resp.StatusCode)
	}
	r.State, r.After = retry.State, retry.After
	return r
}

// request is the signed request of a delivery. Its time is that of the attempt.
func (s *Sender) request(ctx context.Context, w meta.ClaimedWebhook, d meta.Delivery) (*http.Request, error) {
	at := s.Now()
	sealed := [][]byte{w.Secret}
	if w.PreviousUntil.After(at) {
		sealed = append(sealed, w.PreviousSecret)
	}
	var secrets []string
	for _, one := range sealed {
		secret, err := s.Secrets.Open(one, w.SecretName())
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the secret of the webhook cannot be opened; set it again")
		}
		secrets = append(secrets, secret)
	}
	signature, err := sign(d.Message(), at, d.Body, secrets...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the secret of the webhook is not valid; set it again")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, strings.NewReader(d.Body))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the URL of the webhook is not valid")
	}
	req.Header.Set("Content-Type", d.ContentType)
	req.Header.Set("User-Agent", "berth-webhook")
	req.Header["webhook-id"] = []string{d.Message()} // as the specification writes them
	req.Header["webhook-timestamp"] = []string{strconv.FormatInt(at.Unix(), 10)}
	req.Header["webhook-signature"] = []string{signature}
	return req, nil
}

// wait is how long a delivery waits after its next failed attempt.
func wait(attempts int64) time.Duration {
	d := firstWait
	for range attempts {
		if d *= waitsGrow; d >= longestWait {
			d = longestWait
			break
		}
	}
	return d*3/4 + rand.N(d/2) //nolint:gosec // nothing depends on it
}

// noAnswer is all that a tenant learns of an attempt without an answer: more would tell what is
// where in the networks that its webhooks may reach (contract row E1).
const noAnswer = "no answer: the receiver cannot be reached, has a certificate that is not trusted, breaks off, or takes too long"

// hidden is the error without the URL, which may hold a secret.
func hidden(err error) error {
	if of, ok := err.(*url.Error); ok { //nolint:errorlint // http.Client returns it as it is
		return of.Err
	}
	return err
}

// excerpt is the beginning of an answer, as text that every store and log can keep.
func excerpt(answer []byte) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(answer[:min(len(answer), maxExcerpt)]), ""))
	return logs.Clip(text)
}
