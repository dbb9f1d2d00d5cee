package assemble

import (
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/janitor"
)

// Collect does at once what the janitor of a deployment does in time: what one
// pass condemns the next one deletes.
func Collect(ctx context.Context, c boot.Config, log *slog.Logger) error {
	s, err := openStores(ctx, c, noop.NewTracerProvider())
	if err != nil {
		return err
	}
	j := janitor.New(janitor.Config{Meta: s.meta, Blobs: s.blobs, Log: log})
	return errors.Join(j.Pass(ctx), j.Pass(ctx), s.close())
}
