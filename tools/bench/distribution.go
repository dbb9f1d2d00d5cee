package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/internal/port"
	"github.com/berth-registry/berth/tools/internal/server"
)

// distribution is a running registry of the distribution project, on its file
// system driver, without authentication.
type distribution struct {
	addr    string
	process *server.Process
}

func startDistribution(ctx context.Context, binary, dir string) (*distribution, error) {
	addrs, err := port.Free(1)
	if err != nil {
		return nil, err
	}
	d := &distribution{addr: addrs[0]}
	config := fmt.Sprintf(`
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}, cache: {blobdescriptor: inmemory}}
http: {addr: %q, secret: bench}
`, filepath.Join(dir, "distribution"), d.addr)
	file := filepath.Join(dir, "distribution.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	// It calls every blob that is not there an error.
	log, err := os.Create(filepath.Join(dir, "distribution.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if d.process, err = server.Begin(cmd, nil); err != nil {
		return nil, err
	}
	if err := await.Within(ctx, 10*time.Second, binary+" answers", func() bool { return answers(ctx, "http://"+d.addr+"/v2/") }); err != nil {
		return nil, errors.Join(err, d.process.Kill())
	}
	return d, nil
}

func answers(ctx context.Context, target string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}
