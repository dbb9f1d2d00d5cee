package boot

import (
	"runtime"
	"runtime/debug"
)

// Version says which build of Berth this is.
type Version struct {
	Version  string `json:"version"`            // module version, or (devel)
	Commit   string `json:"commit,omitempty"`   // unknown in builds outside a checkout
	Modified bool   `json:"modified,omitempty"` // built from a checkout with changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// ReadVersion reads what the compiler wrote into the binary.
func ReadVersion() Version {
	v := Version{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
