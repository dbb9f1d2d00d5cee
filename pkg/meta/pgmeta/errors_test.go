package pgmeta

import (
	"errors"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

func TestTranslateKeepsOutagesApart(t *testing.T) {
	own := fault.New(fault.NotFound, fault.BlobUnknown, "no")
	if err := translate(own); !errors.Is(err, own) {
		t.Errorf("a fault became %v", err)
	}
	if err := translate(errors.New("?")); fault.KindOf(err) != fault.Internal {
		t.Errorf("the unforeseen became %v", err)
	}
	if translate(nil) != nil {
		t.Error("nil became an error")
	}
}
