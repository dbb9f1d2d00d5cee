package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
)

// beset is a server that has few descriptors, who works at it, and how others fall
// silent there.
type beset struct {
	*server.Server
	watcher *watcher
	phases  []stillness
}

// besetPlain is a server on a directory, without TLS.
func besetPlain(ctx context.Context, o options, dir string, settings ...string) (*beset, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := server.New(o.berth, dir, settings...)
	if err != nil {
		return nil, err
	}
	s.Files = silentFiles
	if err := s.Start(ctx); err != nil {
		return nil, fmt.Errorf("%w; end of its log:\n%s", err, s.LogTail())
	}
	client := newSilentClient()
	return &beset{s, &watcher{
		registry: &ociclient.Client{Base: "http://" + s.Data, Host: "localhost", HTTP: client},
		ops:      "http://" + s.Ops, client: client,
	}, silentPhases(s)}, nil
}

// besetTLS is one of a cluster, with TLS for clients and a listener for other processes.
func besetTLS(ctx context.Context, o options, dir string, settings ...string) (*beset, error) {
	certs := filepath.Join(dir, "certs")
	if err := errors.Join(os.MkdirAll(certs, 0o700), selfSigned(certs, "localhost", "silent.localhost")); err != nil {
		return nil, err
	}
	t, err := startTown(ctx, o, dir, true, append(settings, "BERTH_TLS_CERTS="+certs, "BERTH_SERVICES=registry,upload,token,admin")...)
	if err != nil {
		return nil, err
	}
	account, err := t.resident(ctx, "silent", "anonymous_pull", `{"anonymous_pull": true}`)
	if err != nil {
		return nil, err
	}
	if err := t.Stop(); err != nil { // its descriptors are those of the next life
		return nil, err
	}
	t.Files = silentFiles
	if err := t.Start(ctx); err != nil {
		return nil, fmt.Errorf("%w; end of its log:\n%s", err, t.LogTail())
	}
	client := newSilentClient()
	account.Base, account.HTTP = "https://"+t.Data, client
	return &beset{t.Server, &watcher{registry: account, ops: "http://" + t.Ops, client: client}, tlsPhases(t.Server, account.Host)}, nil
}

// newSilentClient makes a connection for each request, as a new client does.
func newSilentClient() *http.Client {
	return &http.Client{Timeout: silentAnswer, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   anyServer(),
	}}
}

// anyServer is for a certificate that is signed by itself.
func anyServer(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols} //nolint:forbidigo,gosec // it is that of this program's own server
}

// selfSigned writes a certificate for the names.
func selfSigned(dir string, names ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(name, kind string, bytes []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600)
	}
	return errors.Join(write("tls.crt", "CERTIFICATE", der), write("tls.key", "PRIVATE KEY", secret))
}
