package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/berth-registry/berth/pkg/boot"
)

// The exit codes.
const (
	exitOK         = 0
	exitFailure    = 1 // of fsck: something was found
	exitUsage      = 2
	exitUnfinished = 3 // of fsck: it cannot say
)

type commandLine struct {
	ShowVersion versionFlag `name:"version" help:"Show which Berth this is, and end."`

	Serve   serveCommand   `cmd:"" help:"Run the registry."`
	Migrate migrateCommand `cmd:"" help:"Bring the database of a cluster to this version."`
	Config  configCommand  `cmd:"" help:"Show or check the configuration."`
	Fsck    fsckCommand    `cmd:"" help:"Check the stored data."`
	Backup  backupCommand  `cmd:"" help:"Copy metadata and blobs of the data directory, also while it is served."`
	Restore restoreCommand `cmd:"" help:"Make a data directory of a backup."`
	Login   loginCommand   `cmd:"" help:"Log in from a terminal, and get an access token for docker login."`
	Version versionCommand `cmd:"" help:"Show which Berth this is."`

	CredentialProvider credentialProviderCommand `cmd:"" help:"Let nodes of Kubernetes pull by the tokens of pods."`
}

const description = `Berth is a registry for container images and other OCI artifacts, for many tenants.

  berth serve                                       run on this machine, data in ./berth-data
  berth serve --base-domain registry.example.com --data-addr :443 --tls-certs /etc/berth/certs
  berth serve --meta postgres://db/berth --blobs 's3://berth?region=eu-central-1'     a node of a cluster
  BERTH_DATA_DIR=/var/lib/berth berth serve         every flag is a variable, too
  berth config print > berth.yaml                   and a key of the file for --config
  berth config check --config berth.yaml`

// env is what a command may touch of its process.
type env struct {
	ctx     context.Context
	environ []string
	flags   map[string]any // settings given as flags, by key
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var cli commandLine
	exited := -1
	parser, err := kong.New(&cli,
		kong.Name("berth"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ValueFormatter(helpWithDefault),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }), // --help asks to exit
	)
	if err != nil {
		fmt.Fprintln(stderr, "berth:", err)
		return exitFailure
	}
	hideSettings(parser.Model.Node)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "berth: %s\n%s see --help.\n", err, commandOf(err))
		return exitUsage
	}
	err = parsed.Run(&env{ctx, environ, settingsOf(parsed), stdin, stdout, stderr})
	if err != nil {
		complain(stderr, err)
		if errors.Is(err, errUnfinished) {
			return exitUnfinished
		}
		return exitFailure
	}
	return exitOK
}

// commandOf is the command whose line could not be read.
func commandOf(err error) string {
	path := "berth"
	var wrong *kong.ParseError
	if !errors.As(err, &wrong) {
		return path
	}
	for _, p := range wrong.Context.Path {
		if p.Command != nil {
			path = p.Command.FullPath()
		}
	}
	return path
}

// helpWithDefault is the help of a flag, with the default of a setting.
func helpWithDefault(v *kong.Value) string {
	key := v.Tag.Get("setting")
	if key == "" {
		return kong.DefaultHelpValueFormatter(v)
	}
	text := boot.DefaultText(key)
	switch {
	case text != "":
		return v.Help + " Default: " + text + "."
	case strings.Contains(v.Help, "mpty"), strings.Contains(v.Help, "; 0 is "): // the help says what that means
		return v.Help
	default:
		return v.Help + " Default: none."
	}
}

// settingsOf collects the flags that were given and are settings.
func settingsOf(parsed *kong.Context) map[string]any {
	flags := map[string]any{}
	for _, p := range parsed.Path {
		if p.Flag != nil && p.Flag.Tag.Get("setting") != "" {
			flags[p.Flag.Tag.Get("setting")] = p.Flag.Target.Interface()
		}
	}
	return flags
}

// complain writes one line for each thing that is wrong.
func complain(w io.Writer, err error) {
	var problems boot.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintln(w, "berth:", p)
		}
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(w, "berth:", strings.TrimSpace(line))
	}
}
