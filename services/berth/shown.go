package main

import (
	"slices"

	"github.com/alecthomas/kong"
)

// shownSettings are the settings in the help of a command, by its name and the key
// of the setting. Commands that are not here show all.
var shownSettings = map[string][]string{
	"backup":  {"data_dir", "admin_addr", "admin_tls_certs", "operator_token_file"},
	"restore": {"data_dir"},
	"fsck":    {"data_dir", "meta", "meta_file", "blobs", "accept_restored"},
	"migrate": {"meta", "meta_file"},
	"print":   {},
	"check":   {"seed"},
}

// hideSettings takes out of the help what does not matter to a command. It is
// taken anyway, so that all commands understand one file.
func hideSettings(n *kong.Node) {
	shown, some := shownSettings[n.Name]
	if some {
		n.Detail += "\n\nIt takes every other setting of the server, too: berth serve --help."
	}
	for _, f := range n.Flags {
		if key := f.Tag.Get("setting"); some && key != "" {
			f.Hidden = !slices.Contains(shown, key)
		}
	}
	for _, child := range n.Children {
		hideSettings(child)
	}
}
