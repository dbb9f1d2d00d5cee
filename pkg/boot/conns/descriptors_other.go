//go:build !linux

package conns

import "errors"

// openDescriptors is not known here.
func openDescriptors() (int, error) { return 0, errors.ErrUnsupported }
