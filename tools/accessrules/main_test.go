package main

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestU65_AMethodWithoutARuleIsFound(t *testing.T) {
	other := protowire.AppendBytes(protowire.AppendTag(nil, 72295728, protowire.BytesType), []byte("/v1/tenants"))
	with := func(before []byte, rule uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(before, accessField, protowire.VarintType), rule)
	}
	for name, c := range map[string]struct {
		options []byte
		want    bool
	}{
		"none":               {nil, false},
		"another option":     {other, false},
		"unspecified":        {with(nil, 0), false},
		"a rule":             {with(nil, 2), true},
		"a rule after other": {with(other, 6), true},
		"cut off":            {other[:len(other)-1], false},
	} {
		if got := hasRule(c.options); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
