package testserver

import "github.com/berth-registry/berth/pkg/oci"

// Remove removes manifests and blobs from a repository, as a registry's collection of
// garbage does. Tags and indexes still name them.
func (s *Scripted) Remove(name string, gone ...oci.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repo(name)
	for _, d := range gone {
		delete(repo.manifests, d)
		delete(repo.blobs, d)
	}
}
