package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"godwit/engine"
)

func newMigrateResolveCommand() *cobra.Command {
	var f jobFlags
	var sl uint16
	var lost string
	c := &cobra.Command{
		Use:   "resolve commit|abort --node HOST:PORT --slot SLOT --lost NODE-ID",
		Short: "End the handoff of a slot of which one side is lost for good",
		Long: `End the handoff of a slot of which one side is lost for good, at the side that is left.

A target that is prepared waits for its source: commit makes it serve the slot, abort makes it delete what it imported. A source that
has decided waits for its target: commit counts the slot as taken over, and its copy goes, abort makes it serve its copy again.

Look first at what the lost side still has on its disk: what is not at --node is lost. With its id, all of it, you say that the node does
not come back. --node asks it first, and refuses while it answers; a Kvrocks is asked whether it serves the slot, which refuses
abort, and may not be silent on a connection that it takes. If it does come back and serves the slot, it stops as soon
as it hears that the slot is served elsewhere, and what was written there meanwhile is lost.`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{string(engine.ResolveCommit), string(engine.ResolveAbort)},
		RunE: func(c *cobra.Command, args []string) error {
			if what := engine.Resolution(args[0]); what != engine.ResolveCommit && what != engine.ResolveAbort {
				return errors.New("want commit or abort: see godwit migrate resolve --help")
			}
			node, err := dial(f.node, f.password)
			if err != nil {
				return err
			}
			defer node.close()
			text, err := node.text("GODWIT", "MIGRATION", "RESOLVE", strconv.Itoa(int(sl)), args[0], lost)
			if err != nil {
				return explain(f.node, err)
			}
			show(c.OutOrStdout(), "%s\n", text)
			return nil
		},
	}
	f.add(c)
	c.Flags().Uint16Var(&sl, "slot", 0, "the `SLOT`")
	c.Flags().StringVar(&lost, "lost", "", "the id of the `NODE` that is lost, all 40 characters")
	_ = c.MarkFlagRequired("slot")
	_ = c.MarkFlagRequired("lost")
	return c
}
