package command

import (
	"strings"

	"godwit/engine/resp"
)

// helpSpec describes the subcommand HELP of a container, of whose group it is.
func helpSpec(container *Spec) *Spec {
	flags := Loading | Stale | Server
	if container.Is(Connection) {
		flags |= Connection
	}
	return &Spec{Name: container.Name + "|help", Arity: 2, Flags: flags,
		Group: container.Group, Since: helpSince(container), Complexity: "O(1)", Summary: "Show what the subcommands are for",
		Differs: "names the subcommands that there are, without their arguments"}
}

// helpSince is the version that brought HELP of a container.
func helpSince(container *Spec) string {
	switch container.Name {
	case "client", "cluster", "command", "config":
		return "5.0.0"
	case "object", "slowlog":
		return "6.2.0"
	default:
		return container.Since
	}
}

// IsHelp reports whether the command is the HELP of a container.
func (s *Spec) IsHelp() bool { return strings.HasSuffix(s.Name, "|help") }

// WriteHelp replies to the HELP of a container: each subcommand and what it does, in lines of the form that Redis gives them.
func (t *Table) WriteHelp(s *Spec, out *resp.Writer) {
	container, _, _ := strings.Cut(s.Name, "|")
	subs := t.byName[container].Sub
	out.Array(1 + 2*len(subs))
	out.Simple(strings.ToUpper(container) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, sub := range subs {
		_, name, _ := strings.Cut(sub.Name, "|")
		out.Simple(strings.ToUpper(name))
		out.Simple("    " + sub.Summary)
	}
}
