package main

import (
	"fmt"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
)

type configCommand struct {
	Print printCommand `cmd:"" help:"Print the configuration in force as YAML, secrets redacted, and where each value is from."`
	Check checkCommand `cmd:"" help:"Look for mistakes, also in the seed file and the certificates; one line for each, exit code 1."`
}

type printCommand struct{ settings }

// Help is the longer text of --help.
func (printCommand) Help() string {
	return `Prints what is in force, each value with where it is from: default, file, environment or flag. Secrets are not printed.

  berth config print
  berth config print --config berth.yaml | grep -v '# default'`
}

// Run prints even what Check would refuse: it is how one finds out.
func (c printCommand) Run(e *env) error {
	loaded, err := boot.Load(boot.Sources{File: c.ConfigFile, Environ: e.environ, Flags: e.flags})
	if err != nil {
		return err
	}
	return loaded.Print(e.stdout)
}

type checkCommand struct{ settings }

// Help is the longer text of --help.
func (checkCommand) Help() string {
	return `Looks at every setting as serve would, and prints one line for each mistake. A note is not a mistake: it says what the seed file names but does not have.

  berth config check --config berth.yaml
  BERTH_DATA_ADDR=:5000 berth config check`
}

func (c checkCommand) Run(e *env) error {
	loaded, err := c.load(e)
	if err != nil {
		return err
	}
	notes, err := assemble.CheckFiles(e.ctx, loaded.Config)
	for _, note := range notes {
		fmt.Fprintln(e.stderr, "berth: note: seed:", note)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, "The configuration is good.")
	return err
}

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
