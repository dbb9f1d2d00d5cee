package logs_test

import (
	"context"
	"log/slog"
	"os"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

func ExampleWith() {
	log := slog.New(logs.NewHandler(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	ctx := logs.With(context.Background(), slog.String("request_id", "r1"))
	ctx = logs.With(ctx, slog.String("tenant", "acme"))
	log.InfoContext(ctx, "tag moved", "tag", "latest")
	// Output: level=INFO msg="tag moved" tag=latest request_id=r1 tenant=acme
}
