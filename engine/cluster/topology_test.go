package cluster

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/slot"
)

// id makes a node id from a letter.
func id(letter string) NodeID { return NodeID(strings.Repeat(letter, NodeIDLen)) }

// mustParse is the map of a text that is right.
func mustParse(t testing.TB, text string, version int64) *Map {
	t.Helper()
	m, err := ParseNodes(text, version)
	if err != nil {
		t.Fatalf("ParseNodes(%q): %v", text, err)
	}
	return m
}

// expand replaces <a>, <b> … by node ids.
func expand(text string) string {
	for _, l := range "abcdef" {
		text = strings.ReplaceAll(text, "<"+string(l)+">", string(id(string(l))))
	}
	return text
}

const threeNodes = `<a> 10.0.0.1 7001 master - 0-100 200
<b> node-b.example 7002 master - 101-199 16383
<c> ::1 7003 slave <a>
`

func TestParseNodes(t *testing.T) {
	m := mustParse(t, expand(threeNodes), 7)
	if m.Version != 7 || len(m.Nodes) != 3 || !m.Initialized() {
		t.Fatalf("version %d, %d nodes", m.Version, len(m.Nodes))
	}
	c := m.Find(id("c"))
	if c == nil || !c.Replica || c.Failed || c.Master != id("a") || c.Host != "::1" || c.Port != 7003 || c.Slots.Len() != 0 {
		t.Errorf("node c is %+v", c)
	}
	for s, want := range map[slot.Slot]NodeID{0: id("a"), 100: id("a"), 101: id("b"), 199: id("b"), 200: id("a"), 16383: id("b"), 201: "", 16382: "", 16384: "", 65535: ""} {
		got := NodeID("")
		if n := m.Owner(s); n != nil {
			got = n.ID
		}
		if got != want {
			t.Errorf("slot %d belongs to %q, want %q", s, got.Short(), want.Short())
		}
	}
	if m.Find(id("d")) != nil || m.Find("") != nil {
		t.Error("a node that is not there was found")
	}
	if got := m.Text(); got != expand(threeNodes) {
		t.Errorf("text is %q", got)
	}
}

// TestParseNodesForms: what is accepted in more than one form, and the one in which it is given back.
func TestParseNodesForms(t *testing.T) {
	for in, want := range map[string]string{
		"<a> h 1 master -":                                       "<a> h 1 master -\n",
		"\n\n<a> h 1 master -\n\n":                               "<a> h 1 master -\n",
		"  <a>  h  65535   MASTER  -  3  1-2 ":                   "<a> h 65535 master - 1-3\n",
		"<a> h 1 master - 5 4 3":                                 "<a> h 1 master - 3-5\n",
		"<a> h 01 master - 007":                                  "<a> h 1 master - 7\n",
		"<a> h 1 Slave <b>":                                      "<a> h 1 slave <b>\n",
		"<a> h 1 replica <b>":                                    "<a> h 1 slave <b>\n",
		"<a> h 1 slave,fail <b>\n<b> h 2 master -":               "<a> h 1 slave,fail <b>\n<b> h 2 master -\n",
		"<b> h 2 master - 0-16383\n<a> h 1 REPLICA,FAIL <b>\n\n": "<b> h 2 master - 0-16383\n<a> h 1 slave,fail <b>\n",
	} {
		if got := mustParse(t, expand(in), 0).Text(); got != expand(want) {
			t.Errorf("%q became %q, want %q", in, got, expand(want))
		}
	}
}

func TestParseNodesErrors(t *testing.T) {
	short, long := strings.Repeat("a", NodeIDLen-1), strings.Repeat("a", NodeIDLen+1)
	for _, c := range []struct {
		text string
		want Error
	}{
		{"", ErrNodesInfo},
		{"\n\n", ErrNodesInfo},
		{"   ", ErrNodesInfo},
		{"<a> h 1 master", ErrNodesInfo},
		{"<a> h 1 slave <b> 5", ErrNodesInfo},
		{"<a> h 1 master - 5\n<b> h 1", ErrNodesInfo},
		{"<a> h 1 master -\n<a> h 2 master -", ErrNodesInfo},
		{"<a> " + strings.Repeat("h", MaxHost+1) + " 1 master -", ErrNodesInfo},
		{"<a> h\r 1 master -", ErrNodesInfo},
		{short + " h 1 master -", ErrNodeID},
		{long + " h 1 master -", ErrNodeID},
		{short + "\r h 1 master -", ErrNodeID},
		{"<a> h 1 master <b>", ErrNodeID},
		{"<a> h 1 slave -", ErrNodeID},
		{"<a> h 1 slave " + short, ErrNodeID},
		{"<a> h x master -", ErrNodePort},
		{"<a> h -1 master -", ErrNodePort},
		{"<a> h 0 master -", ErrNodePort},
		{"<a> h 65536 master -", ErrNodePort},
		{"<a> h 1 boss -", ErrNodeRole},
		{"<a> h 1 master,fail -", ErrNodeRole},
		{"<a> h 1 slave,pfail <b>", ErrNodeRole},
		{"<a> h 1 master - 16384", ErrSlotRange},
		{"<a> h 1 master - 0-16384", ErrSlotRange},
		{"<a> h 1 master - 5-5", ErrSlotRange},
		{"<a> h 1 master - 6-5", ErrSlotRange},
		{"<a> h 1 master - 1-2-3", ErrSlotRange},
		{"<a> h 1 master - -5", ErrSlotRange},
		{"<a> h 1 master - 5-", ErrSlotRange},
		{"<a> h 1 master - 0-1,3", ErrSlotRange},
		{"<a> h 1 master - 5\r\n", ErrSlotRange},
		{"<a> h 1 master - 5 5", ErrSlotOverlap},
		{"<a> h 1 master - 0-5 5-9", ErrSlotOverlap},
		{"<a> h 1 master - 0-5\n<b> h 2 master - 5", ErrSlotOverlap},
		{"<a> h 1 master - 0-5 <b> h 2 master - 6-9", ErrMissingNewline},
	} {
		m, err := ParseNodes(expand(c.text), 1)
		if !errors.Is(err, c.want) || m != nil {
			t.Errorf("ParseNodes(%q) = %v, %v, want %q", c.text, m, err, c.want)
		}
	}
	if _, err := ParseNodes(expand("<a> h 1 master -"), -1); !errors.Is(err, ErrClusterVersion) {
		t.Errorf("version -1: %v", err)
	}
}

func TestMaxNodes(t *testing.T) {
	lines := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%040d h 1 slave %s\n", i, id("f"))
		}
		return b.String()
	}
	if m := mustParse(t, lines(MaxNodes), 1); len(m.Nodes) != MaxNodes {
		t.Errorf("%d nodes", len(m.Nodes))
	}
	if _, err := ParseNodes(lines(MaxNodes+1), 1); !errors.Is(err, ErrNodesInfo) {
		t.Errorf("one node too many: %v", err)
	}
}

func TestNewMapChecks(t *testing.T) {
	good := func() []Node {
		return []Node{
			{ID: id("a"), Host: "h", Port: 1, Slots: slot.SetOf(slot.Range{First: 0, Last: 9})},
			{ID: id("b"), Host: "h", Port: 2, Replica: true, Master: id("a")},
		}
	}
	if _, err := NewMap(good(), 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func([]Node)
		want  Error
	}{
		"replica with slots":    {func(n []Node) { n[1].Slots.Add(77) }, ErrNodesInfo},
		"master with master":    {func(n []Node) { n[0].Master = id("b") }, ErrNodeID},
		"replica of nobody":     {func(n []Node) { n[1].Master = "" }, ErrNodeID},
		"failed master":         {func(n []Node) { n[0].Failed = true }, ErrNodeRole},
		"empty host":            {func(n []Node) { n[0].Host = "" }, ErrNodesInfo},
		"host with a line":      {func(n []Node) { n[0].Host = "h\nx" }, ErrNodesInfo},
		"id with a space":       {func(n []Node) { n[0].ID = " " + id("a")[1:] }, ErrNodeID},
		"port too high":         {func(n []Node) { n[0].Port = 65536 }, ErrNodePort},
		"the same id twice":     {func(n []Node) { n[1].ID = id("a") }, ErrNodesInfo},
		"one slot, two masters": {func(n []Node) { n[1] = Node{ID: id("b"), Host: "h", Port: 2, Slots: n[0].Slots} }, ErrSlotOverlap},
	} {
		nodes := good()
		c.spoil(nodes)
		if _, err := NewMap(nodes, 0); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestMapDoesNotChange: neither the caller's slice nor a map made from it can change a map.
func TestMapDoesNotChange(t *testing.T) {
	nodes := []Node{{ID: id("a"), Host: "h", Port: 1}, {ID: id("b"), Host: "h", Port: 2}}
	nodes[0].Slots.Add(5)
	m, err := NewMap(nodes, 1)
	if err != nil {
		t.Fatal(err)
	}
	before, hash := m.Text(), m.Hash()
	nodes[0].Host = "other"
	nodes[0].Slots.Add(6)
	if _, err := m.WithSlots([]slot.Range{{First: 5, Last: 9}}, id("b"), 2); err != nil {
		t.Fatal(err)
	}
	if m.Text() != before || m.Hash() != hash || m.Owner(5).ID != id("a") || m.Owner(6) != nil {
		t.Errorf("the map became %q", m.Text())
	}
}

func TestWithSlots(t *testing.T) {
	m := mustParse(t, expand(threeNodes), 7)
	got, err := m.WithSlots([]slot.Range{{First: 50, Last: 150}, {First: 300, Last: 300}, {First: 60, Last: 60}}, id("b"), 8)
	if err != nil {
		t.Fatal(err)
	}
	want := mustParse(t, expand(`<a> 10.0.0.1 7001 master - 0-49 200
<b> node-b.example 7002 master - 50-199 300 16383
<c> ::1 7003 slave <a>
`), 8)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, version %d", got.Text(), got.Version)
	}
	one := []slot.Range{{First: 1, Last: 1}}
	for name, c := range map[string]struct {
		m       *Map
		ranges  []slot.Range
		id      NodeID
		version int64
		want    Error
	}{
		"unknown node":     {m, one, id("d"), 8, ErrUnknownNode},
		"replica":          {m, one, id("c"), 8, ErrNotMaster},
		"negative version": {m, one, id("a"), -1, ErrVersion},
		"slot too high":    {m, []slot.Range{{First: 16384, Last: 16384}}, id("a"), 8, ErrSlotRange},
		"end too high":     {m, []slot.Range{{First: 1, Last: 65535}}, id("a"), 8, ErrSlotRange},
		"backwards":        {m, []slot.Range{{First: 9, Last: 1}}, id("a"), 8, ErrSlotRange},
		"no map":           {NoMap(), one, id("a"), 0, ErrUnknownNode},
		"nil map":          {nil, one, id("a"), 0, ErrUnknownNode},
	} {
		if _, err := c.m.WithSlots(c.ranges, c.id, c.version); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNoMap(t *testing.T) {
	for name, m := range map[string]*Map{"NoMap": NoMap(), "nil": nil} {
		if m.Initialized() || m.Owner(0) != nil || m.Find(id("a")) != nil || m.Text() != "" || m.Hash() != NoMap().Hash() {
			t.Errorf("%s knows something", name)
		}
	}
}

func TestHash(t *testing.T) {
	m := mustParse(t, expand(threeNodes), 7)
	lines := strings.SplitAfter(strings.TrimSuffix(expand(threeNodes), "\n")+"\n", "\n")
	other := mustParse(t, lines[2]+lines[0]+lines[1], 7)
	if m.Hash() != other.Hash() {
		t.Error("the hash depends on the order of the nodes")
	}
	// Compared between nodes of different builds: another value is another protocol.
	if got := m.Hash(); got != 0x2b9a81ef2c4876b4 {
		t.Errorf("the hash is %#x", got)
	}
	seen := map[uint64]string{m.Hash(): "itself"}
	for name, m := range map[string]*Map{
		"no map":          NoMap(),
		"another version": mustParse(t, expand(threeNodes), 8),
		"another port":    mustParse(t, strings.Replace(expand(threeNodes), "7001", "7009", 1), 7),
		"another slot":    mustParse(t, strings.Replace(expand(threeNodes), "200", "201", 1), 7),
		"failed replica":  mustParse(t, strings.Replace(expand(threeNodes), "slave", "slave,fail", 1), 7),
		"one node less":   mustParse(t, lines[0]+lines[1], 7),
	} {
		if as, twice := seen[m.Hash()]; twice {
			t.Errorf("%s has the hash of %s", name, as)
		}
		seen[m.Hash()] = name
	}
}

// maps draws maps of every kind that NewMap accepts.
func maps() *rapid.Generator[*Map] {
	return rapid.Custom(func(t *rapid.T) *Map {
		word := func(n int) *rapid.Generator[string] {
			return rapid.Map(rapid.SliceOfN(rapid.ByteRange('!', '~'), n, n), func(b []byte) string { return string(b) })
		}
		ids := rapid.SliceOfNDistinct(word(NodeIDLen), 1, 8, rapid.ID[string]).Draw(t, "ids")
		nodes := make([]Node, len(ids))
		for i := range nodes {
			nodes[i] = Node{
				ID:      NodeID(ids[i]),
				Host:    word(rapid.IntRange(1, 20).Draw(t, "host length")).Draw(t, "host"),
				Port:    rapid.IntRange(1, 65535).Draw(t, "port"),
				Replica: rapid.Bool().Draw(t, "replica"),
			}
			if nodes[i].Replica {
				nodes[i].Failed = rapid.Bool().Draw(t, "failed")
				nodes[i].Master = NodeID(rapid.OneOf(rapid.SampledFrom(ids), word(NodeIDLen)).Draw(t, "master"))
			}
		}
		// Cut the slots at random places and deal the pieces out, some to nobody.
		cuts := rapid.SliceOfN(rapid.IntRange(0, slot.Count-1), 0, 20).Draw(t, "cuts")
		at := make(map[int]bool)
		for _, c := range cuts {
			at[c] = true
		}
		owner := -1
		for s := range slot.Count {
			if s == 0 || at[s] {
				owner = rapid.IntRange(-1, len(nodes)-1).Draw(t, "owner")
			}
			if owner >= 0 && !nodes[owner].Replica {
				nodes[owner].Slots.Add(slot.Slot(s))
			}
		}
		m, err := NewMap(nodes, rapid.Int64Min(0).Draw(t, "version"))
		if err != nil {
			t.Fatalf("NewMap: %v", err)
		}
		return m
	})
}

func TestTextAndBytesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := maps().Draw(t, "map")
		parsed, err := ParseNodes(m.Text(), m.Version)
		if err != nil || !reflect.DeepEqual(parsed, m) {
			t.Fatalf("text %q: %v", m.Text(), err)
		}
		decoded, err := DecodeMap(EncodeMap(m))
		if err != nil || !reflect.DeepEqual(decoded, m) {
			t.Fatalf("bytes of %q: %v", m.Text(), err)
		}
		if parsed.Hash() != m.Hash() {
			t.Fatal("the hash did not survive")
		}
		for s := range slot.Slot(slot.Count) {
			n := m.Owner(s)
			claimed := 0
			for i := range m.Nodes {
				if m.Nodes[i].Slots.Has(s) {
					claimed++
					if n != &m.Nodes[i] {
						t.Fatalf("slot %d: the table and the nodes differ", s)
					}
				}
			}
			if claimed > 1 || claimed == 0 && n != nil || n != nil && n.Replica {
				t.Fatalf("slot %d has %d owners", s, claimed)
			}
		}
	})
}

func TestWithSlotsMovesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := maps().Draw(t, "map")
		to := rapid.SampledFrom(m.Nodes).Draw(t, "to").ID
		first := slot.Slot(rapid.IntRange(0, slot.Count-1).Draw(t, "first"))
		r := slot.Range{First: first, Last: slot.Slot(rapid.IntRange(int(first), slot.Count-1).Draw(t, "last"))}
		got, err := m.WithSlots([]slot.Range{r}, to, 3)
		if m.Find(to).Replica {
			if !errors.Is(err, ErrNotMaster) {
				t.Fatalf("a replica was given slots: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for s := range slot.Slot(slot.Count) {
			want := NodeID("")
			if n := m.Owner(s); n != nil {
				want = n.ID
			}
			if r.Contains(s) {
				want = to
			}
			if n := got.Owner(s); n == nil && want != "" || n != nil && n.ID != want {
				t.Fatalf("slot %d belongs to %v, want %s", s, n, want)
			}
		}
	})
}

func FuzzParseNodes(f *testing.F) {
	f.Add(expand(threeNodes), int64(1))
	f.Add("", int64(-1))
	f.Add(expand("<a> h 1 master - 5 6-7\n<b> h 2 slave,fail <a>\n"), int64(1))
	f.Add(expand("<a> h 1 master - 0-5 <b> h 2 master -"), int64(1))
	f.Fuzz(func(t *testing.T, text string, version int64) {
		m, err := ParseNodes(text, version)
		if err != nil {
			var e Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is no text for clients", err)
			}
			return
		}
		again, err := ParseNodes(m.Text(), version)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%q became %q, and that: %v", text, m.Text(), err)
		}
		if decoded, err := DecodeMap(EncodeMap(m)); err != nil || !reflect.DeepEqual(decoded, m) {
			t.Fatalf("%q does not survive its bytes: %v", text, err)
		}
	})
}

func TestAddr(t *testing.T) {
	m := mustParse(t, expand(threeNodes), 7)
	for id, want := range map[NodeID]string{id("a"): "10.0.0.1:7001", id("b"): "node-b.example:7002", id("c"): "::1:7003"} {
		if addr, found := m.Addr(id); !found || addr != want {
			t.Errorf("node %s is called at %q, %v; want %q", id.Short(), addr, found, want)
		}
	}
	for _, m := range []*Map{m, NoMap(), nil} {
		if addr, found := m.Addr(id("d")); found {
			t.Errorf("a node that is not in the map is called at %q", addr)
		}
	}
}
