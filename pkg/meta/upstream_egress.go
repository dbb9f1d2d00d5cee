package meta

import "time"

// UpstreamEgress is how an upstream is reached. Zero values mean the defaults.
type UpstreamEgress struct {
	Proxy        string           `json:"proxy,omitempty"`        // name of a proxy of the deployment; empty: its default
	Alternatives []UpstreamTarget `json:"alternatives,omitempty"` // asked in order while those before do not answer
	Connect      time.Duration    `json:"connect,omitempty"`      // to resolve and connect
	Response     time.Duration    `json:"response,omitempty"`     // for a document, or the header of a blob
	Progress     time.Duration    `json:"progress,omitempty"`     // for the next part of a blob
	Pace         float64          `json:"pace,omitempty"`         // requests per second and process
	MaxRequests  int              `json:"max_requests,omitempty"` // in flight, per process
}
