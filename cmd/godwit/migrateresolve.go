package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

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

Look first at what the lost side still has on its disk: what is not at --node is lost. Then see to it that its machine is off, or cut off
from all clients: a node that is only slow, or that --node cannot reach, would serve the slot beside this one. With its id, all of it, you
say that this is done and that the node does not come back. --node asks it all the same, for as long as its setting resolve-patience says
(30s), and refuses if it answers, so it has to be in the map there; the order stands once it is given, also if this command is interrupted. A Kvrocks is asked whether it
serves the slot, which refuses abort, and may not be silent on a connection that it takes. If the node does come back and serves the slot,
it stops as soon as it hears that the slot is served elsewhere, and what was written there meanwhile is lost.

A lost node can leave slots at several others: godwit migrate unresolved --node HOST:PORT --lost NODE-ID finds them.`,
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
			wait, err := resolveTime(node)
			if err != nil {
				return explain(f.node, err)
			}
			answer, err := node.do(wait, "GODWIT", "MIGRATION", "RESOLVE", strconv.Itoa(int(sl)), args[0], lost)
			if err != nil {
				return explain(f.node, fmt.Errorf("%s: %w", f.node, err))
			}
			show(c.OutOrStdout(), "%s\n", answer.Text)
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

// resolveTime is how long the answer to RESOLVE may take: the node asks the other one for so long, and its last question has its own time.
func resolveTime(node *conn) (time.Duration, error) {
	r, err := node.do(callTime, "CONFIG", "GET", "resolve-patience")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", node.addr, err)
	}
	if len(r.Items) != 2 {
		return 0, fmt.Errorf("%s has no setting resolve-patience: another version?", node.addr)
	}
	patience, err := time.ParseDuration(r.Items[1].Text)
	return patience + 2*callTime, err
}

func newMigrateUnresolvedCommand() *cobra.Command {
	var f jobFlags
	var lost string
	c := &cobra.Command{
		Use:   "unresolved --node HOST:PORT [--lost NODE-ID]",
		Short: "List the slots whose handoff cannot go on without another node",
		Long: `Ask every node of the map which slots of it wait for another node, and print for each what would resolve it. In a cluster that is well these
are the slots that move just now; what stays in the list, or waits for a node that is lost (--lost), needs godwit migrate resolve, at each
of the nodes that are named. A slot that was only arriving from a lost node has nobody that has all of it: it is lost with that node.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			members, err := findMembers(f.node, f.password)
			if err != nil {
				return err
			}
			return listUnresolved(c.OutOrStdout(), members, f.password, lost)
		},
	}
	f.add(c)
	c.Flags().StringVar(&lost, "lost", "", "only what waits for the `NODE` with this id")
	return c
}

// listUnresolved asks the members, and fails if one that was to be asked does not answer: it may have slots that wait, too.
func listUnresolved(out io.Writer, members []member, password, lost string) error {
	silent, found := 0, 0
	for _, m := range members {
		if string(m.ID) == lost {
			continue
		}
		waiting, err := waitingAt(m, password, lost)
		if err != nil {
			silent++
			show(out, "%s (%s): %v\n", m.Addr, m.ID, err)
			continue
		}
		for _, w := range waiting {
			found++
			show(out, "slot %d is %s at %s (epoch %d, job %s) and waits for node %s: ", w.Slot, w.State, m.Addr, w.Epoch, w.Job, w.Other)
			if w.Resolvable {
				show(out, "godwit migrate resolve commit|abort --node %s --slot %d --lost %s\n", m.Addr, w.Slot, w.Other)
			} else {
				show(out, "it is still arriving, and nothing is to be resolved\n")
			}
		}
	}
	switch {
	case found == 0 && silent == 0:
		show(out, "no slot waits for another node\n")
	case silent > 0:
		return fmt.Errorf("%d of the nodes could not be asked", silent)
	}
	return nil
}

func waitingAt(m member, password, lost string) (waiting []engine.WaitingSlot, err error) {
	if m.Err != nil {
		return nil, m.Err
	}
	c, err := dial(m.Addr, password)
	if err != nil {
		return nil, err
	}
	defer c.close()
	args := []string{"GODWIT", "MIGRATION", "RESOLVE"}
	if lost != "" {
		args = append(args, lost)
	}
	return waiting, c.json(&waiting, args...)
}
