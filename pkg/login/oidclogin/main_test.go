package oidclogin_test

import (
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }
