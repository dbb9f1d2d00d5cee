package boot

import "testing"

func TestQ4_NoDescriptorLeft(t *testing.T) {
	if MaxFiles() < 64 {
		t.Errorf("%d files", MaxFiles())
	}
}
