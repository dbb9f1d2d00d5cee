package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
)

// upstream is a registry of images whose layers are made when they are asked for.
type upstream struct {
	images []image
	seed   uint64
	blobs  map[string]int // layers by digest
	sent   atomic.Int64   // layers
	server *http.Server
	addr   string
}

type image struct {
	name             string // of its repository; its tag is 1
	manifest, config []byte
	digest           oci.Digest // of the manifest
	configDigest     oci.Digest
	layer            oci.Digest
	size             int64 // of the layer
}

// Sizes of layers, in bytes.
const (
	smallest = 100 << 10
	biggest  = 1 << 20
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func startUpstream(images int, seed uint64) (*upstream, error) {
	u := &upstream{seed: seed, blobs: map[string]int{}}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range images {
		im := image{name: fmt.Sprintf("app%d", i), size: smallest + r.Int64N(biggest-smallest+1), config: fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","image":%d}`, i)}
		im.layer, im.configDigest = oci.DigestOf(oci.SHA256, u.content(i, im.size)), oci.DigestOf(oci.SHA256, im.config)
		m, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType,
			"config": descriptor("application/vnd.oci.image.config.v1+json", im.configDigest, int64(len(im.config))),
			"layers": []any{descriptor("application/vnd.oci.image.layer.v1.tar", im.layer, im.size)},
		})
		if err != nil {
			return nil, err
		}
		im.manifest, im.digest = m, oci.DigestOf(oci.SHA256, m)
		u.images = append(u.images, im)
		u.blobs[im.layer.String()] = i
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u.addr = listener.Addr().String()
	u.server = &http.Server{Handler: u, ReadHeaderTimeout: time.Minute}
	go func() { _ = u.server.Serve(listener) }()
	return u, nil
}

func descriptor(mediaType string, d oci.Digest, size int64) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": d, "size": size}
}

func (u *upstream) url() string { return "http://" + u.addr }

func (u *upstream) close() { _ = u.server.Close() }

// layersSent is how often a layer was asked for.
func (u *upstream) layersSent() int64 { return u.sent.Load() }

// total is the size of all images.
func (u *upstream) total() int64 {
	var all int64
	for _, im := range u.images {
		all += im.bytes()
	}
	return all
}

func (im image) bytes() int64 { return im.size + int64(len(im.config)+len(im.manifest)) }

// content is the layer of an image.
func (u *upstream) content(i int, size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(u.seed), byte(i), byte(i >> 8), byte(i >> 16)}).Read(b) // never fails
	return b
}

// ServeHTTP answers GET and HEAD of manifests and blobs.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
	if len(parts) != 3 {
		return // /v2/ itself
	}
	i, err := strconv.Atoi(strings.TrimPrefix(parts[0], "app"))
	if err != nil || i < 0 || i >= len(u.images) {
		http.NotFound(w, r)
		return
	}
	im := u.images[i]
	switch parts[2] {
	case "1", im.digest.String():
		send(w, r, manifestType, im.digest, im.manifest)
	case im.configDigest.String():
		send(w, r, "application/octet-stream", im.configDigest, im.config)
	case im.layer.String():
		if r.Method == http.MethodGet {
			u.sent.Add(1)
		}
		send(w, r, "application/octet-stream", im.layer, u.content(i, im.size))
	default:
		http.NotFound(w, r)
	}
}

func send(w http.ResponseWriter, r *http.Request, mediaType string, d oci.Digest, content []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(content) // the client may leave
	}
}
