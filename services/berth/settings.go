package main

import "github.com/berth-registry/berth/pkg/boot"

// settings are the flags of every command that reads the configuration. The
// values kong puts into Settings are not used as they stand: run hands those
// that were given to boot.Load, which lays them over file and environment.
type settings struct {
	ConfigFile string      `name:"config" short:"c" placeholder:"FILE" help:"Configuration file, YAML; also BERTH_CONFIG."`
	Settings   boot.Config `embed:""`
}

// load reads the configuration, and looks at every value that serving needs.
func (s settings) load(e *env) (boot.Loaded, error) {
	loaded, err := s.read(e)
	if err != nil {
		return loaded, err
	}
	return loaded, loaded.Check()
}

// read reads the configuration for a command that needs little of it.
func (s settings) read(e *env) (boot.Loaded, error) {
	return boot.Load(boot.Sources{File: s.ConfigFile, Environ: e.environ, Flags: e.flags})
}
