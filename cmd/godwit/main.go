// Command godwit is the server, its tools and its proofs in one binary. Each subcommand is in a file of its own.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"godwit/migration/driver"
)

func main() { runProgram(driver.Config{}) }

// runProgram is the program, whose servers move slots as moves says. It returns when there was no error.
func runProgram(moves driver.Config) {
	if len(os.Args) > 1 && os.Args[1] == "server" {
		useHugePages()
	}
	if err := newRootCommand(moves).Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "godwit:", err)
		os.Exit(exitStatus(err))
	}
}

// exitStatus is what the process ends with after an error: 1, or what a statusError says.
func exitStatus(err error) int {
	var s *statusError
	if errors.As(err, &s) {
		return s.status
	}
	return 1
}

// newRootCommand makes the command tree. Subcommands are registered here. moves is how a server that it starts moves slots, as far as
// flags do not say.
func newRootCommand(moves driver.Config) *cobra.Command {
	root := &cobra.Command{
		Use:   "godwit",
		Short: "A Redis-protocol store on disk whose data moves between machines without stopping",
		// main prints errors; the usage would hide them.
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
	}
	root.SetVersionTemplate("godwit {{.Version}}\n")
	root.AddCommand(
		newCheckCommand(),
		newServerCommand(moves),
		newClusterCommand(),
		newDemoCommand(),
		newMigrateCommand(),
		newSimCommand(),
		newVerifyCommand(),
	)
	return root
}

// groupOnly is the RunE of a command that has subcommands and does nothing itself: it shows its help, and calls what it does
// not know an error.
func groupOnly(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q for %q: see %s --help", args[0], c.CommandPath(), c.CommandPath())
	}
	return c.Help()
}

// release is the version that is being worked towards.
const release = "0.1.0"

// version is the release and, when the go command recorded it, the commit.
func version() string {
	text := release
	if info, ok := debug.ReadBuildInfo(); ok {
		revision, modified := "", ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = "+changes"
			}
		}
		if revision != "" {
			text += "-" + revision + modified
		}
	}
	return text + " " + runtime.Version()
}
