package main

import (
	"bufio"
	"errors"
	"reflect"
	"strings"
	"testing"

	"godwit/engine/cluster"
)

func TestReadReply(t *testing.T) {
	for wire, want := range map[string]reply{
		"+OK\r\n":                  {Kind: '+', Text: "OK"},
		"-ERR no\r\n":              {Kind: '-', Text: "ERR no"},
		":-5\r\n":                  {Kind: ':', Int: -5},
		"$5\r\na\r\nbc\r\n":        {Kind: '$', Text: "a\r\nbc"},
		"$0\r\n\r\n":               {Kind: '$'},
		"$-1\r\n":                  {Kind: '$', Null: true},
		"*-1\r\n":                  {Kind: '*', Null: true},
		"*2\r\n:1\r\n*1\r\n+a\r\n": {Kind: '*', Items: []reply{{Kind: ':', Int: 1}, {Kind: '*', Items: []reply{{Kind: '+', Text: "a"}}}}},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(wire)), 0)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v and %v", wire, got, err)
		}
	}
	for _, wire := range []string{"", "+", "+OK\n", "\r\n", "?x\r\n", ":x\r\n", "$x\r\n", "$-2\r\n", "$3\r\nabcde", "$3\r\nab", "*x\r\n", "*1\r\n",
		"$99999999999\r\n", strings.Repeat("*1\r\n", 20) + "+a\r\n", strings.Repeat("x", 9000)} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(wire)), 0); err == nil {
			t.Errorf("%.20q: got %+v, want an error", wire, got)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n:1\r\n"))
	f.Fuzz(func(_ *testing.T, wire []byte) {
		_, _ = readReply(bufio.NewReader(strings.NewReader(string(wire))), 0)
	})
}

func TestExplain(t *testing.T) {
	for text, want := range map[string]string{
		cluster.ErrNotEnabled.Reply():        "n is not a node of a cluster",
		"NOAUTH Authentication required.":    "n wants another password",
		"WRONGPASS no":                       "n wants another password",
		"ERR unknown command 'GODWIT', with": "n is not a Godwit node",
		"ERR something else":                 "ERR something else",
	} {
		if got := explain("n", errReply(text)); got == nil || !strings.Contains(got.Error(), want) {
			t.Errorf("%s: got %v", text, got)
		}
	}
	if err := errors.New("x"); !errors.Is(explain("n", err), err) || explain("n", nil) != nil {
		t.Error("an error that is no reply is changed")
	}
}

func TestParseMembers(t *testing.T) {
	id := strings.Repeat("a", 40)
	got, err := parseMembers(id + " 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5\n" +
		id + " ::1:7001@17001 master - 0 0 1 connected\n" + id + " h:7002@17002 slave " + id + " 0 0 1 connected\n")
	if err != nil || len(got) != 2 || got[0].Addr != "10.0.0.1:7000" || got[1].Addr != "[::1]:7001" {
		t.Errorf("got %+v and %v", got, err)
	}
	for _, bad := range []string{"", "a b\n", id + " here master -\n", id + " h:0@1 master -\n"} {
		if got, err := parseMembers(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestFindTarget(t *testing.T) {
	members := []member{{Addr: "a:1", ID: "abc"}, {Addr: "b:2", ID: "abd"}}
	for to, want := range map[string]cluster.NodeID{"a:1": "abc", "b:2": "abd", "abc": "abc", "abd": "abd"} {
		if got, err := findTarget(members, to); err != nil || got != want {
			t.Errorf("%s: got %s and %v", to, got, err)
		}
	}
	for to, want := range map[string]string{"ab": `2 nodes have an id that begins with "ab"`, "x": `no node is "x": there are abc at a:1`, "": `no node is ""`} {
		if _, err := findTarget(members, to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", to, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{1, 2, 3, 4}
	if quantile(nil, 0.5) != 0 || quantile(v, 0.5) != 3 || quantile(v, 1) != 4 || quantile(v, 0) != 1 || quantile(v[:1], 0.99) != 1 {
		t.Error("quantiles are wrong")
	}
}

// TestClusterStatusOf builds clusters that are not healthy, which real nodes do not let happen.
func TestClusterStatusOf(t *testing.T) {
	node := func(addr, serving string) member {
		m := member{Addr: addr, ID: cluster.NodeID(addr)}
		m.Report.Serving, m.Report.MapVersion, m.Report.MapHash = serving, 3, "h"
		return m
	}
	if s := clusterStatusOf([]member{node("a", "0-99"), node("b", "100-16383")}); !s.Healthy || s.Nodes[0].Slots != 100 {
		t.Errorf("a healthy cluster: %+v", s)
	}
	alarmed, other, gone := node("b", "100-16383"), node("b", "100-16383"), member{Addr: "b", Err: errors.New("b does not answer")}
	alarmed.Report.Alarms = []string{"the fire is out"}
	other.Report.MapHash = "i"
	for want, second := range map[string]member{
		"more than one node: 90-99": node("b", "90-16383"), "no node that answers: 100-199": node("b", "200-16383"),
		"b: the fire is out": alarmed, "version 3 of the map is not the same everywhere": other, "b does not answer": gone,
	} {
		s := clusterStatusOf([]member{node("a", "0-99"), second})
		if s.Healthy || !strings.Contains(strings.Join(s.Problems, "\n"), want) {
			t.Errorf("got %q, want %q", s.Problems, want)
		}
		var b strings.Builder
		if err := s.print(&b); err != nil || !strings.Contains(b.String(), "problem: ") || strings.Contains(b.String(), "healthy:") {
			t.Errorf("%v: printed as %s", err, b.String())
		}
	}
	if set, err := slotSet(""); err != nil || set.Len() != 0 {
		t.Error("no slots are not read as no slots")
	}
}
