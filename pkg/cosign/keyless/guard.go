package keyless

import "errors"

var errPanicked = errors.New("it cannot be read")

// guarded calls a library with bytes from outside. A panic of it is an error: what cannot be
// read verifies nothing.
func guarded[T any](call func() (T, error)) (T, error) {
	var value T
	err := errPanicked
	func() {
		defer func() { _ = recover() }() // err says it
		value, err = call()
	}()
	return value, err
}
