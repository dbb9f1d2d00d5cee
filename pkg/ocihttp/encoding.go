package ocihttp

import (
	"net/http"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// CheckContentEncoding refuses a request body that is encoded, with kind
// MediaType (415): digests are of the bytes as sent, and nothing here ever
// decompresses.
func CheckContentEncoding(r *http.Request) error {
	for _, value := range r.Header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(value, ",") {
			if c := strings.TrimSpace(coding); c != "" && !strings.EqualFold(c, "identity") {
				return fault.New(fault.MediaType, fault.UnsupportedReason, "send the body without a Content-Encoding").
					WithField("Content-Encoding")
			}
		}
	}
	return nil
}
