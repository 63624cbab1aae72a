package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// startTime is how long cluster create waits for nodes that are not listening yet.
const startTime = 5 * time.Second

// serveTime is how long cluster create waits until every node serves what it was given.
const serveTime = 30 * time.Second

func newClusterCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Make a cluster of running nodes, grow, shrink and balance it, and show what state it is in",
		RunE:  groupOnly,
	}
	c.AddCommand(newClusterCreateCommand(), newClusterStatusCommand(), newClusterAddCommand(), newClusterRemoveCommand(),
		newClusterRebalanceCommand(), newClusterDrainCommand())
	return c
}

func newClusterCreateCommand() *cobra.Command {
	var nodes []string
	var password string
	c := &cobra.Command{
		Use:   "create --nodes HOST:PORT,HOST:PORT,…",
		Short: "Make a cluster of empty nodes: give each an id and its share of the slots",
		Long: `Make a cluster of empty nodes that run with --cluster: give each an id unless it has one, share the 16384 slots
evenly, tell every node, and wait until all of them serve.

The addresses are those under which clients and the other nodes will reach them. Nodes that do not listen yet are
given 5 seconds to start.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := interruptible(c.Context())
			defer stop()
			m, err := createCluster(ctx, nodes, password)
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			for i := range m.Nodes {
				n := &m.Nodes[i]
				show(out, "%s  %s  slots %s\n", n.ID, net.JoinHostPort(n.Host, strconv.Itoa(n.Port)), &n.Slots)
			}
			show(out, "a cluster of %d nodes serves all %d slots\n", len(m.Nodes), slot.Count)
			return nil
		},
	}
	c.Flags().StringSliceVar(&nodes, "nodes", nil, "`ADDRESSES` of the nodes, separated by commas")
	c.Flags().StringVar(&password, "password", "", "`PASSWORD` of the nodes (their requirepass)")
	_ = c.MarkFlagRequired("nodes") // it exists: defined above
	return c
}

// interruptible is a context that ends when the process is told to stop.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == nil {
		ctx = context.Background()
	}
	return signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
}

// member is a node as a tool sees it: where it is, and what it said of itself or why it said nothing.
type member struct {
	Addr   string
	ID     cluster.NodeID
	Report engine.NodeReport // valid unless Err is set
	Err    error
}

// createCluster makes a cluster of the nodes and returns its map.
func createCluster(ctx context.Context, addrs []string, password string) (*cluster.Map, error) {
	if len(addrs) == 0 {
		return nil, errors.New("no nodes are given: want --nodes HOST:PORT,HOST:PORT,…")
	}
	nodes := make([]cluster.Node, len(addrs))
	for i, addr := range addrs {
		host, port, err := splitAddr(addr)
		if err != nil {
			return nil, err
		}
		nodes[i] = cluster.Node{Host: host, Port: port}
	}
	members := make([]member, len(addrs))
	for i, addr := range addrs {
		members[i] = member{Addr: addr}
	}
	if err := awaitAnswers(ctx, members, password); err != nil {
		return nil, err
	}
	if err := refuseUsed(members); err != nil {
		return nil, err
	}
	for i := range nodes {
		n := &nodes[i]
		n.ID = members[i].Report.ID
		if n.ID == "" {
			n.ID = newNodeID()
		}
		members[i].ID = n.ID
		first, next := i*slot.Count/len(nodes), (i+1)*slot.Count/len(nodes)
		if first < next {
			n.Slots.AddRange(slot.Range{First: slot.Slot(first), Last: slot.Slot(next - 1)})
		}
	}
	m, err := cluster.NewMap(nodes, 1)
	if err != nil {
		return nil, fmt.Errorf("no map can be made of these nodes: %w", err)
	}
	for i := range members {
		if err := tell(members[i].Addr, password, "CLUSTERX", "SETNODEID", string(members[i].ID)); err != nil {
			return nil, err
		}
	}
	if err := pushMap(members, password, m); err != nil {
		return nil, err
	}
	return m, awaitServing(ctx, members, password, m)
}

func splitAddr(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("address %q is wrong: want HOST:PORT", addr)
	}
	return host, port, nil
}

func newNodeID() cluster.NodeID {
	b := make([]byte, cluster.NodeIDLen/2)
	_, _ = rand.Read(b) // never fails
	return cluster.NodeID(hex.EncodeToString(b))
}

// refuseUsed says, for all nodes at once, which of them cannot be the beginning of a cluster and why.
func refuseUsed(members []member) error {
	var problems []error
	seen := map[string]string{} // incarnation to address
	for _, m := range members {
		if m.Err != nil {
			problems = append(problems, m.Err)
			continue
		}
		if other, twice := seen[m.Report.Incarnation]; twice {
			problems = append(problems, fmt.Errorf("%s and %s are the same node", other, m.Addr))
		}
		seen[m.Report.Incarnation] = m.Addr
		switch {
		case m.Report.MapVersion >= 0:
			problems = append(problems, fmt.Errorf("%s is already in a cluster: it has version %d of a map", m.Addr, m.Report.MapVersion))
		case len(m.Report.States) > 0:
			problems = append(problems, fmt.Errorf("%s is not new: it has ownership records of slots", m.Addr))
		}
	}
	return errors.Join(problems...)
}

// askAll fills in the reports of the members, all at the same time.
func askAll(members []member, password string) {
	var group sync.WaitGroup
	for i := range members {
		m := &members[i]
		group.Go(func() {
			m.Report, m.Err = askStatus(m.Addr, password)
			if m.Err == nil && m.ID == "" {
				m.ID = m.Report.ID
			}
		})
	}
	group.Wait()
}

// awaitAnswers is askAll for nodes that may have been started just now: while connections are refused, and nothing else is
// wrong, it asks again for at most startTime. What the members say then, or their errors, stands in them; it fails only if ctx ends.
func awaitAnswers(ctx context.Context, members []member, password string) error {
	last := time.After(startTime)
	for {
		askAll(members, password)
		later := func(m member) bool { return errors.Is(m.Err, syscall.ECONNREFUSED) }
		wrong := func(m member) bool { return m.Err != nil && !later(m) }
		if !slices.ContainsFunc(members, later) || slices.ContainsFunc(members, wrong) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-last:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func askStatus(addr, password string) (engine.NodeReport, error) {
	var r engine.NodeReport
	c, err := dial(addr, password)
	if err != nil {
		return r, err
	}
	defer c.close()
	err = c.json(&r, "GODWIT", "STATUS")
	return r, explain(addr, err)
}

// explain says in the operator's words what an error reply to a tool means.
func explain(addr string, err error) error {
	var refused errReply
	if !errors.As(err, &refused) {
		return err
	}
	text := string(refused)
	switch {
	case text == cluster.ErrNotEnabled.Reply():
		return fmt.Errorf("%s is not a node of a cluster: start it with --cluster", addr)
	case strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "WRONGPASS"):
		return fmt.Errorf("%s wants another password: %s", addr, text)
	case strings.HasPrefix(text, "ERR unknown command"):
		return fmt.Errorf("%s is not a Godwit node: %s", addr, text)
	}
	return err
}

// tell sends a node a command that is answered by OK.
func tell(addr, password string, args ...string) error {
	c, err := dial(addr, password)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.text(args...)
	return explain(addr, err)
}

// pushMap gives a map to all members. It goes on after a failure: a node that has the map helps clients find the others.
func pushMap(members []member, password string, m *cluster.Map) error {
	errs := make([]error, len(members))
	var group sync.WaitGroup
	for i := range members {
		group.Go(func() {
			if err := tell(members[i].Addr, password, "CLUSTERX", "SETNODES", m.Text(), strconv.FormatInt(m.Version, 10)); err != nil {
				errs[i] = fmt.Errorf("version %d of the map did not reach every node: %w", m.Version, err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// awaitServing returns when every node serves what the map gives it.
func awaitServing(ctx context.Context, members []member, password string, m *cluster.Map) error {
	ctx, cancel := context.WithTimeoutCause(ctx, serveTime, fmt.Errorf("not all slots are served after %v", serveTime))
	defer cancel()
	for {
		askAll(members, password)
		var missing []error
		for i := range members {
			want := m.Nodes[i].Slots.String()
			switch r := members[i]; {
			case r.Err != nil:
				missing = append(missing, r.Err)
			case r.Report.Serving != want:
				missing = append(missing, fmt.Errorf("%s serves %q and should serve %q", r.Addr, r.Report.Serving, want))
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), errors.Join(missing...))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// findMembers asks one node for the map, and then every node of it for its state.
func findMembers(addr, password string) ([]member, error) {
	c, err := dial(addr, password)
	if err != nil {
		return nil, err
	}
	defer c.close()
	text, err := c.text("CLUSTER", "NODES")
	if err != nil {
		var refused errReply
		if errors.As(err, &refused) && strings.HasPrefix(string(refused), "CLUSTERDOWN") {
			return nil, fmt.Errorf("%s is in no cluster yet: make one with godwit cluster create", addr)
		}
		return nil, explain(addr, err)
	}
	members, err := parseMembers(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	askAll(members, password)
	for i := range members {
		m := &members[i]
		if m.Err == nil && m.Report.ID != m.ID {
			m.Err = fmt.Errorf("%s is another node than the map says: %q instead of %q", m.Addr, m.Report.ID, m.ID)
		}
	}
	return members, nil
}

// parseMembers reads the masters of CLUSTER NODES.
func parseMembers(text string) ([]member, error) {
	var members []member
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 {
			return nil, fmt.Errorf("a line of CLUSTER NODES is not understood: %q", line)
		}
		if !strings.Contains(f[2], "master") {
			continue
		}
		addr, _, _ := strings.Cut(f[1], "@")
		if i := strings.LastIndexByte(addr, ':'); i > 0 && strings.Contains(addr[:i], ":") && addr[0] != '[' {
			addr = net.JoinHostPort(addr[:i], addr[i+1:]) // an IPv6 address, which CLUSTER NODES writes without brackets
		}
		if _, _, err := splitAddr(addr); err != nil {
			return nil, fmt.Errorf("a line of CLUSTER NODES is not understood: %w", err)
		}
		members = append(members, member{Addr: addr, ID: cluster.NodeID(f[0])})
	}
	if len(members) == 0 {
		return nil, errors.New("the map has no nodes")
	}
	return members, nil
}

// slotSet is the set that a report writes as text.
func slotSet(text string) (slot.Set, error) {
	if text == "" {
		return slot.Set{}, nil
	}
	ranges, err := slot.ParseRanges(text)
	return slot.SetOf(ranges...), err
}

// updateMap makes a map of who serves what now, one version above all others, and gives it to all nodes.
func updateMap(addr, password string) (*cluster.Map, error) {
	members, err := healthyMembers(addr, password)
	if err != nil {
		return nil, fmt.Errorf("the map stays as it is: %w", err)
	}
	return publish(members, password)
}

// show prints for people: when nobody reads any more, there is nobody to tell. What programs read is printed with printJSON.
func show(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }

// printJSON writes v as indented JSON.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
