package tenant

// Quota is how much may be hosted; of each number, 0 means that there is no limit.
type Quota struct {
	Bytes        int64 `json:"bytes,omitempty"` // of distinct blobs, and of manifests
	Repositories int64 `json:"repositories,omitempty"`
	Manifests    int64 `json:"manifests,omitempty"`
	Tags         int64 `json:"tags,omitempty"`
}
