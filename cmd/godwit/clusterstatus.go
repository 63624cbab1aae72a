package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine"
	"godwit/engine/slot"
)

func newClusterStatusCommand() *cobra.Command {
	var node, password string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status --node HOST:PORT",
		Short: "Show the nodes, who serves which slots, and the jobs that run",
		Long: `Ask one node for the map and then every node of it for its state.

The exit status is 0 if every node answered and every slot is served by exactly one of them. A slot that moved while the
map did not follow is shown as differing: that is no fault, clients are redirected.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := clusterStatus(node, password)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), s)
			} else {
				err = s.print(c.OutOrStdout())
			}
			if err != nil {
				return err
			}
			if !s.Healthy {
				return errors.New("the cluster is not healthy")
			}
			return nil
		},
	}
	c.Flags().StringVar(&node, "node", "", "`HOST:PORT` of any node")
	c.Flags().StringVar(&password, "password", "", "`PASSWORD` of the nodes (their requirepass)")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	_ = c.MarkFlagRequired("node") // it exists: defined above
	return c
}

// statusReport is what cluster status prints.
type statusReport struct {
	Healthy  bool         `json:"healthy"`
	Problems []string     `json:"problems"`
	Nodes    []nodeStatus `json:"nodes"`
	// Unserved are the slots that no node serves, Doubled those that more than one serves.
	Unserved string `json:"unserved"`
	Doubled  string `json:"doubled"`
	// Differing are the slots that another node serves than the map says.
	Differing string `json:"differing"`
}

// nodeStatus is one node of a statusReport.
type nodeStatus struct {
	ID      string             `json:"id"`
	Address string             `json:"address"`
	Error   string             `json:"error,omitempty"`
	Slots   int                `json:"slots"`
	Report  *engine.NodeReport `json:"report,omitempty"`
}

// clusterStatus asks again, for a short while, when slots seem to have no server or two: the nodes are asked one beside the
// other, and a slot that is handed over meanwhile is seen on both sides or on neither.
func clusterStatus(addr, password string) (statusReport, error) {
	for try := 0; ; try++ {
		members, err := findMembers(addr, password)
		if err != nil {
			return statusReport{}, err
		}
		s := clusterStatusOf(members)
		if s.Unserved == "" && s.Doubled == "" || try == 4 {
			return s, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// onlyHandovers reports that nothing else is wrong than that slots seem to have no server or two, as those do that are handed over while
// the nodes are asked.
func (s *statusReport) onlyHandovers() bool {
	n := 0
	for _, slots := range []string{s.Unserved, s.Doubled} {
		if slots != "" {
			n++
		}
	}
	return len(s.Problems) == n
}

func clusterStatusOf(members []member) statusReport {
	s := statusReport{Problems: []string{}, Nodes: []nodeStatus{}}
	var served, doubled, differing slot.Set
	hashes := map[int64]string{} // by version of the map
	problem := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	for _, m := range members {
		n := nodeStatus{ID: string(m.ID), Address: m.Addr}
		if m.Err != nil {
			n.Error = m.Err.Error()
			problem("%v", m.Err)
			s.Nodes = append(s.Nodes, n)
			continue
		}
		r := m.Report
		n.Report = &r
		own, err := slotSet(r.Serving)
		differs, err2 := slotSet(r.Differing)
		if err := errors.Join(err, err2); err != nil {
			problem("%s: %v", m.Addr, err)
		}
		n.Slots = own.Len()
		for _, sl := range own.Slots() {
			if served.Has(sl) {
				doubled.Add(sl)
			}
			served.Add(sl)
		}
		for _, sl := range differs.Slots() {
			differing.Add(sl)
		}
		for _, a := range r.Alarms {
			problem("%s: %s", m.Addr, a)
		}
		if h, ok := hashes[r.MapVersion]; ok && h != r.MapHash {
			problem("version %d of the map is not the same everywhere", r.MapVersion)
		}
		hashes[r.MapVersion] = r.MapHash
		s.Nodes = append(s.Nodes, n)
	}
	unserved := slot.SetOf(slot.Range{First: 0, Last: slot.Count - 1})
	for _, sl := range served.Slots() {
		unserved.Remove(sl)
	}
	s.Unserved, s.Doubled, s.Differing = unserved.String(), doubled.String(), differing.String()
	if s.Doubled != "" {
		problem("slots are served by more than one node: %s", s.Doubled)
	}
	if s.Unserved != "" {
		problem("slots are served by no node that answers: %s", s.Unserved)
	}
	s.Healthy = len(s.Problems) == 0
	return s
}

func (s statusReport) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	show(t, "NODE\tADDRESS\tSLOTS\tMAP\tINCARNATION\tJOBS\tARRIVING\tALARMS\n")
	for _, n := range s.Nodes {
		id := n.ID[:min(8, len(n.ID))]
		r := n.Report
		if r == nil {
			show(t, "%s\t%s\t-\t-\t-\t-\t-\t%s\n", id, n.Address, "does not answer")
			continue
		}
		running := 0
		for _, j := range r.Jobs {
			if !j.Ended {
				running++
			}
		}
		alarms := "none"
		if len(r.Alarms) > 0 {
			alarms = strings.Join(r.Alarms, "; ")
		}
		show(t, "%s\t%s\t%d\t%d\t%s\t%d\t%d\t%s\n", id, n.Address, n.Slots, r.MapVersion, r.Incarnation, running, len(r.Imports), alarms)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if n.Report == nil {
			continue
		}
		for _, j := range n.Report.Jobs {
			if !j.Ended {
				show(out, "%s\n", jobLine(j))
			}
		}
	}
	if s.Differing != "" {
		show(out, "served by another node than the map says: %s\n", s.Differing)
	}
	for _, p := range s.Problems {
		show(out, "problem: %s\n", p)
	}
	if s.Healthy {
		show(out, "healthy: every slot has exactly one server\n")
	}
	return nil
}
