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

// The servers that -s3 names.
const (
	versitygw = "versitygw"
	discard   = "discard"
)

// startS3 starts an S3 server with an empty bucket, below dir if it keeps
// anything, and puts Berth's settings for it into the environment. stop ends it.
func startS3(ctx context.Context, which, dir string) (func() error, error) {
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o750); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var stop func() error
	switch which {
	case discard:
		s := &http.Server{Handler: newDiscarding(), ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(l) }() // it ends with Close
		stop = s.Close
	case versitygw:
		if err = l.Close(); err == nil {
			stop, err = startVersitygw(l.Addr().String(), dir)
		}
	default:
		err = fmt.Errorf("-s3 is %s or %s", versitygw, discard)
	}
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s3Access, "AWS_SECRET_ACCESS_KEY": s3Secret, "TMPDIR": spool,
		"BERTH_BLOBS": "s3://blobs?path_style=true&region=us-east-1&endpoint=" + url.QueryEscape("http://"+l.Addr().String()),
	} {
		err = errors.Join(err, os.Setenv(name, value))
	}
	if err == nil {
		err = answers(ctx, "http://"+l.Addr().String()+"/")
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// The account of the server, which lives as long as this run.
const (
	s3Access = "berth"
	s3Secret = "berth-memrun"
)

func startVersitygw(address, dir string) (func() error, error) {
	data, sidecar := filepath.Join(dir, "objects"), filepath.Join(dir, "sidecar")
	if err := errors.Join(os.MkdirAll(filepath.Join(data, "blobs"), 0o750), os.Mkdir(sidecar, 0o750)); err != nil {
		return nil, err
	}
	cmd := exec.Command("versitygw", "--port", address, "--keep-alive", "--quiet", "posix", "--sidecar", sidecar, data)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3Access, "ROOT_SECRET_KEY="+s3Secret)
	return begin(cmd)
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
