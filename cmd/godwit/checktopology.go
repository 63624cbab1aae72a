package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"godwit/engine/slot"
)

// checkTopology is what a check knows of its subject at the start. Redirects correct what is wrong or gets wrong.
type checkTopology struct {
	Cluster bool                 // false: a single server, or several addresses that each serve all keys
	Nodes   []string             // addresses: those given first, then those learnt
	Owners  map[slot.Slot]string // of a cluster
}

// discover asks the first of the addresses that answers.
func discover(addrs []string, password string) (*checkTopology, error) {
	var errs []error
	for _, addr := range addrs {
		t, err := discoverFrom(addr, password)
		if err == nil {
			t.merge(addrs)
			return t, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func discoverFrom(addr, password string) (*checkTopology, error) {
	c, err := dial(addr, password)
	if err != nil {
		return nil, err
	}
	defer c.close()
	t := &checkTopology{Owners: map[slot.Slot]string{}}
	var refused errReply
	r, err := c.do(callTime, "CLUSTER", "SLOTS")
	read := t.readSlots
	if errors.As(err, &refused) { // newer stores may do without SLOTS, older ones are without SHARDS
		if r2, err2 := c.do(callTime, "CLUSTER", "SHARDS"); err2 == nil {
			r, err, read = r2, nil, t.readShards
		}
	}
	switch {
	case err == nil:
		t.Cluster = true
		if !read(r, addr) {
			return nil, fmt.Errorf("%s: the answer about who owns which slots is not what this version understands", addr)
		}
		if len(t.Owners) == 0 {
			return nil, fmt.Errorf("%s is a node of a cluster in which no slot has an owner", addr)
		}
		return t, nil
	case !errors.As(err, &refused):
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	text := string(refused)
	if strings.HasPrefix(text, "NOAUTH") || strings.HasPrefix(text, "WRONGPASS") || strings.HasPrefix(text, "CLUSTERDOWN") {
		return nil, explain(addr, err)
	}
	// It knows nothing of clusters, or is not in one. What a single server cannot do, the check will see.
	return t, nil
}

func (t *checkTopology) merge(addrs []string) {
	learnt := t.Nodes
	t.Nodes = nil
	for _, list := range [][]string{addrs, learnt} {
		for _, addr := range list {
			t.add(addr)
		}
	}
}

func (t *checkTopology) add(addr string) {
	for _, have := range t.Nodes {
		if have == addr {
			return
		}
	}
	t.Nodes = append(t.Nodes, addr)
}

// own notes the owner of the slots first to last.
func (t *checkTopology) own(first, last int64, addr string) bool {
	if first < 0 || last < first || last >= slot.Count {
		return false
	}
	for sl := first; sl <= last; sl++ {
		t.Owners[slot.Slot(sl)] = addr
	}
	t.add(addr)
	return true
}

// readSlots reads the answer to CLUSTER SLOTS: ranges, each with its owner first and then replicas. It reports whether it
// is one.
func (t *checkTopology) readSlots(r reply, from string) bool {
	for _, entry := range r.Items {
		if len(entry.Items) < 3 || len(entry.Items[2].Items) < 2 {
			return false
		}
		owner := entry.Items[2].Items
		addr := hostPort(owner[0].Text, strconv.FormatInt(owner[1].Int, 10), from)
		if !t.own(entry.Items[0].Int, entry.Items[1].Int, addr) {
			return false
		}
	}
	return r.Kind == '*'
}

// readShards reads the answer to CLUSTER SHARDS: shards, each with its slots and nodes, of which one is the master. It
// reports whether it is one.
func (t *checkTopology) readShards(r reply, from string) bool {
	for _, shard := range r.Items {
		addr := ""
		for _, node := range field(shard, "nodes").Items {
			if field(node, "role").Text != "master" {
				continue
			}
			host := field(node, "endpoint").Text
			if host == "" {
				host = field(node, "ip").Text
			}
			addr = hostPort(host, strconv.FormatInt(field(node, "port").Int, 10), from)
		}
		slots := field(shard, "slots").Items
		if len(slots)%2 != 0 || len(slots) > 0 && addr == "" {
			return false
		}
		for i := 0; i < len(slots); i += 2 {
			if !t.own(slots[i].Int, slots[i+1].Int, addr) {
				return false
			}
		}
	}
	return r.Kind == '*'
}

// field is the value behind a name in a flat list of names and values, the zero reply if there is none.
func field(r reply, name string) reply {
	for i := 0; i+1 < len(r.Items); i += 2 {
		if r.Items[i].Text == name {
			return r.Items[i+1]
		}
	}
	return reply{}
}
