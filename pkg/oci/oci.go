// Package oci has the types of the OCI specifications that a registry needs:
// digests, names, references and manifests, each with one strict parser for all
// inputs.
//
// All errors are *fault.Error of kind Invalid or TooLarge.
package oci
