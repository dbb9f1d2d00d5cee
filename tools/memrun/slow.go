package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/berth-registry/berth/tools/internal/ociclient"
)

const (
	// slowStart is what a slow client sends at once: most of what the server
	// gathers before it stores it in S3.
	slowStart = 12 << 20

	// slowBit is what it sends every second from then on, so that the server
	// does not give it up.
	slowBit = 8 << 10
)

// slowClients are uploads that have begun and hardly progress.
type slowClients struct {
	enough chan struct{}
	ended  chan error
}

// startSlow returns when n clients have begun to be slow.
func startSlow(ctx context.Context, n int, client *ociclient.Client, seed uint64) (*slowClients, error) {
	s := &slowClients{enough: make(chan struct{}), ended: make(chan error, 1)}
	var begun sync.WaitGroup
	begun.Add(n)
	go func() {
		s.ended <- together(n, func(i int) error {
			content := noise(seed, uint64(i)|1<<32)
			rest := &trickle{content: content, enough: s.enough, begun: sync.OnceFunc(begun.Done)}
			defer rest.begun() // also where it fails before
			location, err := client.Open(ctx, "mem/slow")
			if err != nil {
				return err
			}
			_, err = client.Stream(ctx, location, io.MultiReader(io.LimitReader(content, slowStart), rest), -1)
			return err
		})
	}()
	begun.Wait()
	select {
	case err := <-s.ended:
		if err != nil {
			return nil, fmt.Errorf("slow clients: %w", err)
		}
		s.ended <- nil // there are none
	default:
	}
	return s, nil
}

// end lets them come to their end and waits for their answers.
func (s *slowClients) end() error {
	close(s.enough)
	return <-s.ended
}

// trickle gives a bit every second until it is enough.
type trickle struct {
	content io.Reader
	enough  <-chan struct{}
	begun   func()
}

func (t *trickle) Read(p []byte) (int, error) {
	t.begun()
	select {
	case <-t.enough:
		return 0, io.EOF
	case <-time.After(time.Second):
		return t.content.Read(p[:min(len(p), slowBit)])
	}
}

// noise is an endless stream that nothing can compress.
func noise(seed, stream uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i], key[8+i] = byte(seed>>(8*i)), byte(stream>>(8*i))
	}
	return rand.NewChaCha8(key)
}
