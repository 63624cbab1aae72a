package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine/cluster"
)

func newClusterAddCommand() *cobra.Command {
	var node, password string
	c := &cobra.Command{
		Use:   "add ADDRESS… --node HOST:PORT",
		Short: "Let empty nodes join a cluster; they get no slots",
		Long: `Let empty nodes that run with --cluster join a cluster: give each an id unless it has one, and give all nodes a new version
of the map, in which the new ones have no slots. godwit cluster rebalance gives them their share.

A node that is a member already stays one, so the command can be repeated.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := interruptible(c.Context())
			defer stop()
			m, err := addNodes(ctx, node, password, args)
			if err != nil {
				return err
			}
			show(c.OutOrStdout(), "a cluster of %d nodes has version %d of the map\n", len(m.Nodes), m.Version)
			return nil
		},
	}
	addNodeFlags(c, &node, &password)
	return c
}

func newClusterRemoveCommand() *cobra.Command {
	var node, password string
	c := &cobra.Command{
		Use:   "remove NODE --node HOST:PORT",
		Short: "Take a node that serves nothing out of the map",
		Long: `Take a node out of the map, and give the others a new version of it. NODE is its address, its id, or the beginning of its id.
It must serve no slot and have no part in a job: godwit cluster drain moves away what it has.

The node itself is not told: stop it afterwards.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := removeNode(node, password, args[0])
			if err != nil {
				return err
			}
			show(c.OutOrStdout(), "a cluster of %d nodes has version %d of the map\n", len(m.Nodes), m.Version)
			return nil
		},
	}
	addNodeFlags(c, &node, &password)
	return c
}

// addNodeFlags adds the flags by which a command finds a cluster.
func addNodeFlags(c *cobra.Command, node, password *string) {
	c.Flags().StringVar(node, "node", "", "`HOST:PORT` of any node")
	c.Flags().StringVar(password, "password", "", "`PASSWORD` of the nodes (their requirepass)")
	_ = c.MarkFlagRequired("node") // it exists: defined above
}

// addNodes makes the nodes at the addresses members of the cluster of a node. It returns the map that all have then.
func addNodes(ctx context.Context, node, password string, addrs []string) (*cluster.Map, error) {
	members, err := healthyMembers(node, password)
	if err != nil {
		return nil, err
	}
	var joining []member
	for _, addr := range addrs {
		if _, _, err := splitAddr(addr); err != nil {
			return nil, err
		}
		same := func(m member) bool { return m.Addr == addr }
		if !slices.ContainsFunc(members, same) && !slices.ContainsFunc(joining, same) {
			joining = append(joining, member{Addr: addr})
		}
	}
	if err := awaitAnswers(ctx, joining, password); err != nil {
		return nil, err
	}
	if err := refuseUsed(joining); err != nil {
		return nil, err
	}
	for i := range joining {
		n := &joining[i]
		if n.ID = n.Report.ID; n.ID == "" {
			n.ID = newNodeID()
		}
		if err := tell(n.Addr, password, "CLUSTERX", "SETNODEID", string(n.ID)); err != nil {
			return nil, err
		}
	}
	return publish(append(members, joining...), password)
}

// removeNode takes a node out of the map of the cluster. It returns the map that the others have then.
func removeNode(node, password, which string) (*cluster.Map, error) {
	members, err := healthyMembers(node, password)
	if err != nil {
		return nil, err
	}
	id, err := findTarget(members, which)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(members, func(m member) bool { return m.ID == id })
	if set := members[at].Report.Serving; set != "" {
		return nil, fmt.Errorf("%s serves slots %s: move them away first, with godwit cluster drain", members[at].Addr, set)
	}
	if len(members) == 1 {
		return nil, errors.New("the only node of a cluster cannot be removed")
	}
	for _, m := range members {
		for _, j := range m.Report.Jobs {
			if !j.Ended && (m.ID == id || j.Target == id) {
				return nil, fmt.Errorf("%s has a part in job %s, which has not ended", members[at].Addr, j.ID)
			}
		}
	}
	return publish(slices.Delete(members, at, at+1), password)
}

// healthyMembers finds the nodes of a cluster in which each slot has one server and every node answers. It asks again, for a while, when slots
// seem to have no server or two, as clusterStatus does.
func healthyMembers(node, password string) ([]member, error) {
	return membersThat(node, password, func(s statusReport, _ []member) bool { return s.Healthy })
}

// membersThat finds the nodes of a cluster whose state is as wanted, and asks again, for a while, while the only thing wrong is that slots seem
// to have no server or two.
func membersThat(node, password string, wanted func(statusReport, []member) bool) ([]member, error) {
	for try := 0; ; try++ {
		members, err := findMembers(node, password)
		if err != nil {
			return nil, err
		}
		s := clusterStatusOf(members)
		if wanted(s, members) {
			return members, nil
		}
		if !s.onlyHandovers() || try == 50 {
			return nil, fmt.Errorf("the cluster is not healthy: %s", strings.Join(s.Problems, "; "))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// publish makes a map of the members and of what they serve, one version above all others, and gives it to them.
func publish(members []member, password string) (*cluster.Map, error) {
	nodes := make([]cluster.Node, len(members))
	version := int64(0)
	for i, m := range members {
		host, port, err := splitAddr(m.Addr)
		if err != nil {
			return nil, err
		}
		set, err := slotSet(m.Report.Serving)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Addr, err)
		}
		nodes[i] = cluster.Node{ID: m.ID, Host: host, Port: port, Slots: set}
		version = max(version, m.Report.MapVersion+1)
	}
	m, err := cluster.NewMap(nodes, version)
	if err != nil {
		return nil, fmt.Errorf("no map can be made of what the nodes serve: %w", err)
	}
	return m, pushMap(members, password, m)
}
