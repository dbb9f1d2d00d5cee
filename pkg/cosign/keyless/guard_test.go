package keyless

import "testing"

// TestW172_APanicIsAnError of what was to be read.
func TestW172_APanicIsAnError(t *testing.T) {
	var nothing []int
	if _, err := guarded(func() (int, error) { return nothing[0], nil }); err == nil {
		t.Error("a panic is no error")
	}
	if got, err := guarded(func() (int, error) { return 7, nil }); got != 7 || err != nil {
		t.Error(got, err)
	}
}
