package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/resp"
	"godwit/engine/slot"
)

const shown = `<a> 10.0.0.1 7001 master - 0-100 200
<b> 10.0.0.2 7002 master - 101-199
<c> 10.0.0.3 7003 slave <a>
<d> 10.0.0.4 7004 slave,fail <a>
<e> 10.0.0.5 7005 slave <f>
`

func view(t testing.TB) View {
	return View{Map: mustParse(t, expand(shown), 12), Self: id("a"), NowMs: 1700000000123}
}

// moved is a view of a node that has given slots 5 to 9 away and takes two ranges in.
func moved(t testing.TB) View {
	v := view(t)
	v.OwnerOf = func(s slot.Slot) NodeID {
		switch {
		case s >= 5 && s <= 9:
			return id("b")
		case s == 50:
			return id("f") // not in the map: no address, so nobody
		case s == 51:
			return id("c") // a replica
		case s == 16383:
			return id("a")
		}
		if n := v.Map.Owner(s); n != nil {
			return n.ID
		}
		return ""
	}
	v.Migrating = []Move{{Ranges: []slot.Range{{First: 10, Last: 20}, {First: 22, Last: 22}}, Peer: id("b")}}
	v.Importing = []Move{{Ranges: []slot.Range{{First: 101, Last: 110}}, Peer: id("b")}}
	return v
}

func TestTextsGolden(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct {
		name string
		view View
	}{{"the map alone", view(t)}, {"slots moved and moving", moved(t)}} {
		fmt.Fprintf(&b, "# %s: nodes\n%s", c.name, c.view.NodesText())
		replicas, err := c.view.ReplicasText(id("a"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "# %s: replicas\n%s", c.name, replicas)
		fmt.Fprintf(&b, "# %s: info\n%s", c.name, strings.ReplaceAll(c.view.InfoText([]string{"extra: line"}), "\r\n", "<CRLF>\n"))
		for _, w := range []struct {
			name  string
			write func(View, *resp.Writer)
		}{{"slots", View.WriteSlots}, {"shards", View.WriteShards}} {
			v := parse(t, c.view, resp.V3, w.write)
			fmt.Fprintf(&b, "# %s: %s\n", c.name, w.name)
			for _, e := range v.Elems {
				fmt.Fprintln(&b, e)
			}
		}
	}
	golden(t, "testdata/view.golden", b.String())
}

// parse runs a writer and reads back the one reply that it must have written.
func parse(t testing.TB, v View, version resp.Version, write func(View, *resp.Writer)) resp.Value {
	t.Helper()
	var w resp.Writer
	w.Reset(nil, version)
	write(v, &w)
	got, rest, err := resp.ParseReply(w.Bytes())
	if err != nil || len(rest) != 0 {
		t.Fatalf("not one reply: %v, %q left", err, rest)
	}
	return got
}

// TestNodesLine: what tools for Kvrocks count on in the text of CLUSTER NODES.
func TestNodesLine(t *testing.T) {
	one := View{Map: mustParse(t, expand("<a> h 7001 master - 0-100\n"), 3), Self: id("a"), NowMs: 5}
	want := expand("<a> h:7001@17001 myself,master - 4 5 3 connected 0-100\n")
	if got := one.NodesText(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	fields := strings.Split(one.NodesText(), " ")
	if len(fields) != 9 || fields[8] != "0-100\n" {
		t.Errorf("%d fields, the last %q", len(fields), fields[len(fields)-1])
	}
	one.Migrating = []Move{{Ranges: []slot.Range{{First: 5, Last: 9}}, Peer: id("b")}}
	if got := one.NodesText(); !strings.HasSuffix(got, expand(" connected 0-100 [5-9->-<b>]\n")) {
		t.Errorf("got %q", got)
	}
	// A node without slots ends at "connected", whoever moves what.
	one.Self = id("b")
	one.OwnerOf = func(slot.Slot) NodeID { return "" }
	if got := one.NodesText(); !strings.HasSuffix(got, " master - 4 5 3 connected\n") {
		t.Errorf("got %q", got)
	}
}

func TestReplicasText(t *testing.T) {
	v := view(t)
	text, err := v.ReplicasText(id("a"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d replicas: %q", len(lines), text)
	}
	for _, l := range lines {
		if fields := strings.Split(l, " "); len(fields) != 8 || fields[7] != "connected" {
			t.Errorf("line %q", l)
		}
	}
	if text, err := v.ReplicasText(id("b")); text != "" || err != nil {
		t.Errorf("a master without replicas: %q, %v", text, err)
	}
	if _, err := v.ReplicasText(id("f")); !errors.Is(err, ErrNodeID) {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := v.ReplicasText(id("c")); !errors.Is(err, ErrNotMaster) {
		t.Errorf("replica: %v", err)
	}
}

func TestInfoText(t *testing.T) {
	v := view(t)
	v.Map = mustParse(t, expand("<a> h 1 master - 0-8191\n<b> h 2 master - 8192-16383\n<c> h 3 slave <a>\n<d> h 4 master -\n"), 4)
	move := Move{Ranges: []slot.Range{{First: 5, Last: 9}, {First: 12, Last: 12}}, Peer: id("b")}
	got := v.InfoText(append(MigratingLines(move, "start"), ImportingLines(move, "success")...))
	want := strings.Join([]string{
		"cluster_state:ok", "cluster_slots_assigned:16384", "cluster_slots_ok:16384", "cluster_slots_pfail:0", "cluster_slots_fail:0",
		"cluster_known_nodes:4", "cluster_size:2", "cluster_current_epoch:4", "cluster_my_epoch:4",
		"migrating_slot(s): 5-9 12", "destination_node: " + string(id("b")), "migrating_state: start",
		"importing_slot(s): 5-9 12", "import_state: success", "",
	}, "\r\n")
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestViewsAgree: CLUSTER SLOTS, SHARDS and NODES tell one truth, that of OwnerOf where the owner has an address.
func TestViewsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := maps().Draw(t, "map")
		owners := make(map[slot.Slot]NodeID)
		for range rapid.IntRange(0, 5).Draw(t, "overrides") {
			first := slot.Slot(rapid.IntRange(0, slot.Count-1).Draw(t, "first"))
			to := rapid.SampledFrom(append([]Node{{ID: ""}, {ID: id("~")}}, m.Nodes...)).Draw(t, "to").ID
			for s := first; s < min(first+100, slot.Count); s++ {
				owners[s] = to
			}
		}
		v := View{Map: m, Self: m.Nodes[0].ID, NowMs: 1, OwnerOf: func(s slot.Slot) NodeID {
			if to, ok := owners[s]; ok {
				return to
			}
			if n := m.Owner(s); n != nil {
				return n.ID
			}
			return ""
		}}
		var want [slot.Count]NodeID
		for s := range want {
			if n := m.Find(v.OwnerOf(slot.Slot(s))); n != nil && !n.Replica {
				want[s] = n.ID
			}
		}

		var bySlots, byShards, byNodes [slot.Count]NodeID
		paint := func(to *[slot.Count]NodeID, first, last int64, id NodeID) {
			for s := first; s <= last; s++ {
				if to[s] != "" {
					t.Fatalf("slot %d is shown twice", s)
				}
				to[s] = id
			}
		}
		write := func(f func(View, *resp.Writer), version resp.Version) resp.Value {
			var w resp.Writer
			w.Reset(nil, version)
			f(v, &w)
			got, rest, err := resp.ParseReply(w.Bytes())
			if err != nil || len(rest) != 0 {
				t.Fatalf("not one reply: %v", err)
			}
			return got
		}
		for _, e := range write(View.WriteSlots, resp.V2).Elems {
			paint(&bySlots, e.Elems[0].Int, e.Elems[1].Int, NodeID(e.Elems[2].Elems[2].Str))
		}
		members := 0
		for _, e := range write(View.WriteShards, resp.V3).Elems {
			ranges, nodes := e.Elems[1].Elems, e.Elems[3].Elems
			members += len(nodes)
			for i := 0; i < len(ranges); i += 2 {
				paint(&byShards, ranges[i].Int, ranges[i+1].Int, NodeID(nodes[0].Elems[1].Str))
			}
		}
		if members != len(m.Nodes) {
			t.Fatalf("%d nodes in shards, the map has %d", members, len(m.Nodes))
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(v.NodesText(), "\n"), "\n") {
			fields := strings.Split(line, " ")
			if len(fields) == 8 {
				continue
			}
			ranges, err := slot.ParseRanges(strings.Join(fields[8:], " "))
			if err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			for _, r := range ranges {
				paint(&byNodes, int64(r.First), int64(r.Last), NodeID(fields[0]))
			}
		}
		if bySlots != want || byShards != want || byNodes != want {
			t.Fatalf("SLOTS %v, SHARDS %v, NODES %v show the owners", bySlots == want, byShards == want, byNodes == want)
		}
	})
}
