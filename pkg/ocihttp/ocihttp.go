// Package ocihttp is the HTTP face of package oci: the path grammar of the
// distribution-spec, its ranges, pages and links, and the one place where
// faults become its error body.
package ocihttp
