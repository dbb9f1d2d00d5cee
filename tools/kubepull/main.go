// Command kubepull pulls an image as a node of Kubernetes does for a pod with an
// imagePullSecret: it takes the credentials for the image from the secret by the
// rules of kubelet, and gives them to the container runtime over its CRI socket.
//
//	kubectl get secret berth -o json | kubepull -cri /run/containerd/containerd.sock dev.example.com/app:1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	socket := flag.String("cri", "/run/containerd/containerd.sock", "`socket` of the container runtime")
	flag.Parse()
	if err := run(*socket, flag.Arg(0), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kubepull:", err)
		os.Exit(1)
	}
}

func run(socket, image string, stdin io.Reader, stdout io.Writer) error {
	if image == "" {
		return errors.New("name the image to pull")
	}
	secret, err := io.ReadAll(stdin)
	if err != nil {
		return err
	}
	keys, err := keyringOf(secret)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ref, err := pull(ctx, cri.NewImageServiceClient(conn), image, keys.lookup(image))
	if err == nil {
		fmt.Fprintln(stdout, ref)
	}
	return err
}

// pull tries the credentials one after another, as kubelet does, and without one
// if the secret has none for the image.
func pull(ctx context.Context, images cri.ImageServiceClient, image string, credentials []login) (string, error) {
	if len(credentials) == 0 {
		credentials = []login{{}}
	}
	var failed []error
	for _, l := range credentials {
		req := &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}}
		if l != (login{}) {
			req.Auth = &cri.AuthConfig{Username: l.Username, Password: l.Password}
		}
		resp, err := images.PullImage(ctx, req)
		if err == nil {
			return resp.GetImageRef(), nil
		}
		failed = append(failed, err)
	}
	return "", errors.Join(failed...)
}
