package assemble_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

const (
	uploadsHost = "uploads.localhost"
	part        = 16 << 20 // the store's
)

// uploadsSeed makes a tenant whose account "suite" may push.
const uploadsSeed = `
tenants:
  - id: uploads
    service_accounts:
      - id: suite
        role: ADMIN
        keys:
          - id: key
            secret_file: secret
`

// offset is how much of an upload has been acknowledged, by its Range; no bytes
// and one byte look the same there.
func (a answer) offset(t *testing.T) int {
	t.Helper()
	_, last, _ := strings.Cut(a.header.Get("Range"), "-")
	n, err := strconv.Atoi(last)
	if err != nil {
		t.Fatalf("%s: Range %q", a.what, a.header.Get("Range"))
	}
	if n == 0 {
		return 0
	}
	return n + 1
}

// path is the location without the host: the same session on another node.
func path(t *testing.T, location string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.RequestURI()
}

// An upload whose node or connection is gone continues at another node, from what
// was acknowledged, within a second.
func TestR2_UploadGoesOnAtAnotherNode(t *testing.T) {
	const sent, whole = 37<<20 + 321, 40 << 20
	random := rand.New(rand.NewPCG(dice.Seed(t), 0))
	w := startSplit(t, uploadsSeed, "", abrupt)
	uploads, registries := w.only(boot.UploadService), w.only(boot.RegistryService)
	leave := func(cut func()) { cut() }
	for _, c := range []struct {
		name     string
		from, to *node
		end      func(cut func())
	}{
		{"the client leaves", uploads[0], uploads[1], leave},
		{"the client leaves a registry that hands on", registries[2], uploads[1], leave},
		{"the node is cut off", uploads[2], registries[0], func(func()) { uploads[2].cancel() }},
		{"the node behind a registry is cut off", registries[0], uploads[1], func(func()) { uploads[0].cancel() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := ocitest.Noise(whole, random.Uint64())
			r := w.through(t, c.from).repository(uploadsHost, "suite", "cut/"+runID)
			location := path(t, r.start(t, "").location(t))
			other := w.through(t, c.to).repository(uploadsHost, "suite", r.name)

			body, in := io.Pipe()
			hanging := make(chan struct{})
			go func() {
				defer close(hanging)
				if a, err := r.try(request{method: http.MethodPatch, target: location, stream: body, header: headers("Content-Type", typeBytes)}); err == nil && a.status < 400 {
					t.Errorf("an upload that was cut: %d", a.status)
				}
			}()
			if _, err := in.Write(content[:sent]); err != nil {
				t.Fatal(err)
			}
			await.True(t, 30*time.Second, "two parts to be acknowledged", func() bool {
				return other.get(t, location).want(t, http.StatusNoContent).offset(t) >= 2*part
			})

			c.end(func() { _ = in.CloseWithError(errors.New("the client leaves")) })
			began := time.Now()
			at, a := other.resume(t, location, content, 1<<10)
			took := time.Since(began)
			t.Logf("continued at %d of %d bytes after %s", at, sent, took)
			if took > time.Second {
				t.Errorf("it took %s", took)
			}
			_ = in.Close()
			<-hanging
			for a.offset(t) < whole {
				_, a = other.resume(t, location, content, whole)
			}
			d := digest.FromBytes(content)
			other.finish(t, location, d, nil).want(t, http.StatusCreated)
			w.through(t, registries[1]).repository(uploadsHost, "suite", r.name).wantBlob(t, d, content)
		})
	}
	w.stop(t)
	w.wantSound(t)
}

// resume asks where the upload is and sends the next bytes, at most that many,
// again where the writer before was still putting some away. It says where it
// continued.
func (r repository) resume(t *testing.T, location string, content []byte, most int) (int, answer) {
	t.Helper()
	at := r.get(t, location).want(t, http.StatusNoContent).offset(t)
	for {
		chunk := content[at:min(at+most, len(content))]
		a := r.patch(t, location, at, chunk).want(t, http.StatusAccepted, http.StatusRequestedRangeNotSatisfiable)
		if a.status == http.StatusAccepted {
			return at, a
		}
		at = a.offset(t)
	}
}

// TestR47_TwoClientsOnTwoNodes has two clients write one session through two
// nodes: at each offset one of them wins, and the blob is whole.
func TestR47_TwoClientsOnTwoNodes(t *testing.T) {
	seed := dice.Seed(t)
	tries := dice.Count(t, 40, 10_000)
	w := startSplit(t, uploadsSeed, "")
	uploads := w.only(boot.UploadService)
	const whole = 8 << 20
	content := ocitest.Noise(whole, seed)
	first := w.repository(uploadsHost, "suite", "two/"+runID)
	location := path(t, first.start(t, "").location(t))
	var won, lost atomic.Int64
	var clients sync.WaitGroup
	for i := range 2 {
		r := w.through(t, uploads[i]).repository(uploadsHost, "suite", first.name)
		random := rand.New(rand.NewPCG(seed, uint64(i)+1))
		clients.Go(func() {
			for range tries {
				at := r.get(t, location).want(t, http.StatusNoContent).offset(t)
				chunk := content[at:min(at+1+random.IntN(2*whole/(2*tries)), whole)]
				if len(chunk) == 0 {
					return
				}
				switch a := r.patch(t, location, at, chunk); a.status {
				case http.StatusAccepted:
					won.Add(1)
				case http.StatusRequestedRangeNotSatisfiable:
					lost.Add(1)
				default:
					t.Errorf("%s at %d: %d %s", a.what, at, a.status, clip(string(a.body)))
				}
			}
		})
	}
	clients.Wait()
	t.Logf("%d chunks won, %d lost", won.Load(), lost.Load())
	if won.Load() == 0 {
		t.Error("no writer ever won")
	}
	stored := content[:first.get(t, location).want(t, http.StatusNoContent).offset(t)]
	first.finish(t, location, digest.FromBytes(stored), nil).want(t, http.StatusCreated)
	w.repository(uploadsHost, "suite", first.name).wantBlob(t, digest.FromBytes(stored), stored)
	w.stop(t)
	w.wantSound(t)
}

// TestR55_ChunksOfAllSizesAtOtherNodes sends each chunk to another node, and
// each again to yet another one (R48), and the last request twice (R8).
func TestR55_ChunksOfAllSizesAtOtherNodes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(dice.Seed(t), 0))
	w := startSplit(t, uploadsSeed, "")
	var nodes []*world
	for _, n := range w.only(boot.UploadService) {
		nodes = append(nodes, w.through(t, n))
	}
	nodes = append(nodes, w.through(t, w.only(boot.RegistryService)[0]))
	next := func(name string) repository {
		return nodes[random.IntN(len(nodes))].repository(uploadsHost, "suite", name)
	}
	sizes := []int{0, 1, 2, 4095, 64 << 10, 5<<20 - 1, 5 << 20, 5<<20 + 1, part - 1, part, part + 1, 2*part + 1}
	for i := range dice.Count(t, 4, 1000) {
		name := fmt.Sprintf("chunks/%s-%d", runID, i)
		var plan []int
		for range 1 + random.IntN(5) {
			plan = append(plan, sizes[random.IntN(len(sizes))])
		}
		location := path(t, next(name).start(t, "").location(t))
		var content []byte
		for _, size := range plan {
			chunk := ocitest.Noise(size, random.Uint64())
			at := len(content)
			header := headers("Content-Type", typeBytes)
			if size > 0 {
				header = chunkHeaders(at, chunk)
			}
			q := request{method: http.MethodPatch, target: location, header: header, body: chunk}
			next(name).send(t, q).want(t, http.StatusAccepted)
			content = append(content, chunk...)
			if size == 0 {
				continue
			}
			again := next(name).send(t, q).want(t, http.StatusRequestedRangeNotSatisfiable)
			if got := again.offset(t); got != len(content) && len(content) > 1 {
				t.Errorf("%v: a chunk again: the offset is %d, want %d", plan, got, len(content))
			}
		}
		d := digest.FromBytes(content)
		next(name).finish(t, location, d, nil).want(t, http.StatusCreated)
		next(name).finish(t, location, d, nil).want(t, http.StatusCreated).wantHeader(t, "Docker-Content-Digest", d.String())
		next(name).finish(t, location, absent, nil).want(t, http.StatusBadRequest, http.StatusNotFound)
		w.through(t, w.only(boot.RegistryService)[0]).repository(uploadsHost, "suite", name).wantBlob(t, d, content)
	}
	w.stop(t)
	w.wantSound(t)
}

// TestR46_SameBlobFromManyClientsAtThreeNodes has 64 clients push one blob: all
// of them are told 201, it is kept once and charged once.
func TestR46_SameBlobFromManyClientsAtThreeNodes(t *testing.T) {
	const clients = 64
	random := rand.New(rand.NewPCG(dice.Seed(t), 0))
	w := startSplit(t, uploadsSeed, "")
	var nodes []*world
	for _, n := range w.only(boot.UploadService) {
		nodes = append(nodes, w.through(t, n))
	}
	var total int
	rounds := dice.Count(t, 1, 1000)
	for round := range rounds {
		content := ocitest.Noise(8*(1+random.IntN(100_000)), random.Uint64())
		total += len(content)
		d := digest.FromBytes(content)
		statuses := make([]int, clients)
		var all sync.WaitGroup
		for i := range clients {
			node := func(j int) repository {
				return nodes[(i+j)%len(nodes)].repository(uploadsHost, "suite", fmt.Sprintf("same/%s-%d/%d", runID, round, i%8))
			}
			all.Go(func() {
				if i%4 == 0 {
					statuses[i] = node(0).postBlob(t, d, content).status
					return
				}
				location := path(t, node(0).start(t, "").location(t))
				statuses[i] = node(1).finish(t, location, d, content).status
			})
		}
		all.Wait()
		for i, status := range statuses {
			if status != http.StatusCreated {
				t.Errorf("client %d: %d", i, status)
			}
		}
		for i := range 8 {
			w.repository(uploadsHost, "suite", fmt.Sprintf("same/%s-%d/%d", runID, round, i)).wantBlob(t, d, content)
		}
	}
	var usage struct {
		UsedBytes string `json:"used_bytes"`
	}
	w.admin(t, http.MethodGet, "/v1/tenants/uploads/usage", nil).want(t, http.StatusOK).decode(t, &usage)
	if usage.UsedBytes != strconv.Itoa(total) {
		t.Errorf("%s bytes are charged, want %d", usage.UsedBytes, total)
	}
	if live := w.count(t, `SELECT count(*) FROM objects WHERE state = 'L'`); live != rounds {
		t.Errorf("%d live objects, want %d", live, rounds)
	}
	if waiting := w.count(t, `SELECT count(*) FROM objects WHERE state = 'S'`); waiting != 0 {
		t.Errorf("%d staged objects belong to no one", waiting)
	}
	w.stop(t)
	w.wantSound(t)
}
