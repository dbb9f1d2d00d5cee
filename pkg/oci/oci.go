// Package oci holds the nouns of the OCI specifications as a registry needs
// them: digests, names, references and manifests, each with the one strict
// parser that every border uses.
//
// All errors are *fault.Error of kind Invalid or TooLarge.
package oci
