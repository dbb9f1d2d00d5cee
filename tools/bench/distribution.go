package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// distribution is a running registry of the distribution project, on its file
// system driver, without authentication.
type distribution struct {
	addr string
	cmd  *exec.Cmd
}

func startDistribution(ctx context.Context, binary, dir string) (*distribution, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &distribution{addr: l.Addr().String()}
	if err := l.Close(); err != nil {
		return nil, err
	}
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
	d.cmd = exec.Command(binary, "serve", file)
	d.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	// It calls every blob that is not there an error.
	log, err := os.Create(filepath.Join(dir, "distribution.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd.Stderr = log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for !answers(ctx, "http://"+d.addr+"/v2/") {
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w", binary, ctx.Err()), d.stop())
		case <-time.After(20 * time.Millisecond):
		}
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

func (d *distribution) stop() error {
	if err := d.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = d.cmd.Wait() // it was killed: that is its error
	return nil
}
