// Command sigstore is a small Sigstore for tests: it gives a certificate to the identity of any
// token, and signs timestamps, so that a real cosign signs without a key of its own. It writes
// trusted_root.json, a token of ada@example.com and its address to the directory at hand.
//
//	cosign sign --fulcio-url "$(cat sigstore)" --timestamp-server-url "$(cat sigstore)/timestamp" \
//	  --identity-token "$(cat identity-token)" --insecure-skip-verify --tlog-upload=false --yes IMAGE
package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/cosign/keyless/keylesstest"
	"github.com/berth-registry/berth/tools/internal/command"
)

func main() {
	command.Run("sigstore", serve)
}

func serve(ctx context.Context, _ io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	store := keylesstest.New()
	token := keylesstest.Token(keyless.Identity{Issuer: "https://login.example", Subject: "ada@example.com"})
	err = errors.Join(
		os.WriteFile("trusted_root.json", []byte(store.Root(keylesstest.Timestamps)), 0o600),
		os.WriteFile("identity-token", []byte(token), 0o600),
		os.WriteFile("sigstore", []byte("http://"+listener.Addr().String()), 0o600), // last: then all is there
	)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: store.Handler(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err = server.Serve(listener); errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
