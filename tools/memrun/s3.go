package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// startS3 starts an S3 server (versitygw) with an empty bucket below dir and
// puts the server's settings for it into the environment. stop ends it.
func startS3(ctx context.Context, dir string) (func() error, error) {
	data, sidecar, spool := filepath.Join(dir, "objects"), filepath.Join(dir, "sidecar"), filepath.Join(dir, "spool")
	for _, d := range []string{filepath.Join(data, "blobs"), sidecar, spool} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command("versitygw", "--port", address, "--keep-alive", "--quiet", "posix", "--sidecar", sidecar, data)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=berth", "ROOT_SECRET_KEY=berth-memrun")
	stop, err := begin(cmd)
	if err != nil {
		return nil, fmt.Errorf("the S3 server: %w", err)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "berth", "AWS_SECRET_ACCESS_KEY": "berth-memrun", "TMPDIR": spool,
		"BERTH_BLOBS": "s3://blobs?path_style=true&region=us-east-1&endpoint=" + url.QueryEscape("http://"+address),
	} {
		err = errors.Join(err, os.Setenv(name, value))
	}
	if err == nil {
		err = answers(ctx, "http://"+address+"/")
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// begin starts a program that the kernel kills when this one ends. The signal
// belongs to the thread that started it, so that thread stays.
func begin(cmd *exec.Cmd) (func() error, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it was killed: that is its error
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error {
		err := cmd.Process.Kill()
		<-ended
		return err
	}, nil
}

// answers waits until a server answers, in whatever way.
func answers(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", target, err)
		}
	}
}
