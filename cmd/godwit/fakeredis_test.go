package main

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"godwit/engine/slot"
)

// fakeFault is what a fakeRedis does wrong, or does not do, with a command on a key.
type fakeFault int

const (
	fakeNone      fakeFault = iota
	fakeLose                // answers a write and forgets it
	fakeStale               // answers a read by what was there before the last write
	fakeTwice               // executes twice and answers the second time, as a retrying proxy does
	fakeCutBefore           // closes the connection and executes nothing
	fakeCutAfter            // executes and closes the connection
	fakeHang                // executes and does not answer
	fakeRefuse              // TRYAGAIN, CLUSTERDOWN or LOADING, and executes nothing
	fakeError               // an error that does not say whether it executed; it did
	fakeAsk                 // ASK
)

// fakeRedis is a cluster of servers in this process that speak enough RESP for a check. Its nodes share the data, and so are
// linearizable whatever the redirects, until a fault is drawn.
type fakeRedis struct {
	single   bool                                 // answers CLUSTER as a server does that knows no clusters
	noSlots  bool                                 // knows SHARDS only
	strings  bool                                 // knows commands on strings only
	password string                               // "" for none
	fault    func(n int, args []string) fakeFault // for the n-th command on a key
	nodes    []*fakeNode

	mu   sync.Mutex
	n    int // commands on keys
	data map[string]string
	last map[string]*string // what was there before the last write, nil for nothing
}

type fakeNode struct {
	f      *fakeRedis
	number int
	l      net.Listener
}

// startFakeRedis starts a cluster of n nodes.
func startFakeRedis(t *testing.T, n int, f *fakeRedis) *fakeRedis {
	t.Helper()
	f.data, f.last = map[string]string{}, map[string]*string{}
	if f.fault == nil {
		f.fault = func(int, []string) fakeFault { return fakeNone }
	}
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		node := &fakeNode{f, i, l}
		f.nodes = append(f.nodes, node)
		t.Cleanup(func() { l.Close() })
		go node.serve()
	}
	return f
}

func (f *fakeRedis) addrs() string {
	var all []string
	for _, n := range f.nodes {
		all = append(all, n.l.Addr().String())
	}
	return strings.Join(all, ",")
}

// left is how many keys there are.
func (f *fakeRedis) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.data)
}

// owner of a slot: it changes now and then.
func (f *fakeRedis) owner(sl slot.Slot) int { return (int(sl) + f.n/400) % len(f.nodes) }

func (n *fakeNode) serve() {
	for {
		nc, err := n.l.Accept()
		if err != nil {
			return
		}
		go n.session(nc)
	}
}

func (n *fakeNode) session(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	asking, known := false, n.f.password == ""
	for {
		req, err := readReply(r, 0)
		if err != nil || len(req.Items) == 0 {
			return
		}
		var args []string
		for _, a := range req.Items {
			args = append(args, a.Text)
		}
		var out string
		switch name := strings.ToUpper(args[0]); {
		case name == "AUTH" && args[1] == n.f.password:
			known, out = true, "+OK\r\n"
		case name == "AUTH":
			out = "-WRONGPASS invalid password\r\n"
		case !known:
			out = "-NOAUTH Authentication required.\r\n"
		case name == "CLUSTER":
			out = n.cluster(args)
		case name == "ASKING":
			out = "+OK\r\n"
		default:
			answer, ok := n.keyed(name, args, asking)
			if !ok {
				return
			}
			out = answer
		}
		asking = strings.EqualFold(args[0], "ASKING")
		if _, err := nc.Write([]byte(out)); err != nil {
			return
		}
	}
}

// cluster answers CLUSTER SLOTS and CLUSTER SHARDS. Hosts are left out: they are the one that was asked.
func (n *fakeNode) cluster(args []string) string {
	port := func(i int) int { return n.f.nodes[i].l.Addr().(*net.TCPAddr).Port }
	half := slot.Count / len(n.f.nodes)
	var b strings.Builder
	switch {
	case n.f.single:
		return "-ERR This instance has cluster support disabled\r\n"
	case args[1] == "SLOTS" && !n.f.noSlots:
		fmt.Fprintf(&b, "*%d\r\n", len(n.f.nodes))
		for i := range n.f.nodes {
			fmt.Fprintf(&b, "*3\r\n:%d\r\n:%d\r\n*3\r\n$-1\r\n:%d\r\n$2\r\nid\r\n", i*half, (i+1)*half-1, port(i))
		}
		return b.String()
	case args[1] == "SHARDS":
		fmt.Fprintf(&b, "*%d\r\n", len(n.f.nodes))
		for i := range n.f.nodes {
			fmt.Fprintf(&b, "*4\r\n+slots\r\n*2\r\n:%d\r\n:%d\r\n+nodes\r\n*2\r\n", i*half, (i+1)*half-1)
			b.WriteString("*4\r\n+role\r\n+replica\r\n+port\r\n:1\r\n")
			fmt.Fprintf(&b, "*8\r\n+id\r\n+x\r\n+port\r\n:%d\r\n+endpoint\r\n$9\r\n127.0.0.1\r\n+role\r\n+master\r\n", port(i))
		}
		return b.String()
	}
	return "-ERR unknown subcommand\r\n"
}

// keyed runs a command on a key; false means that the connection is to be closed.
func (n *fakeNode) keyed(name string, args []string, asking bool) (string, bool) {
	f := n.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	key := args[1]
	sl := slot.OfKey([]byte(key))
	to := func(i int) string { return fmt.Sprintf("%d %s\r\n", sl, f.nodes[i].l.Addr()) }
	if owner := f.owner(sl); !f.single && owner != n.number && !asking {
		return "-MOVED " + to(owner), true
	}
	fault := f.fault(f.n, args)
	switch fault {
	case fakeCutBefore:
		return "", false
	case fakeRefuse:
		return []string{"-TRYAGAIN later\r\n", "-CLUSTERDOWN The cluster is down\r\n", "-LOADING from disk\r\n"}[f.n%3], true
	case fakeAsk:
		if !asking {
			return "-ASK " + to((n.number+1)%len(f.nodes)), true
		}
	default:
	}
	if f.strings && slices.Contains([]string{"LRANGE", "SMEMBERS"}, name) {
		return "-ERR unknown command '" + name + "'\r\n", true
	}
	old, has := f.data[key]
	if fault == fakeStale {
		before := f.last[key]
		if before == nil {
			return fakeRead(name, args, "", false), true
		}
		return fakeRead(name, args, *before, true), true
	}
	if fakeReads(name) {
		if fault != fakeHang && fault != fakeCutAfter && fault != fakeError {
			return fakeRead(name, args, old, has), true
		}
	}
	out := f.execute(name, args)
	if fault == fakeTwice {
		out = f.execute(name, args)
	}
	if !fakeReads(name) {
		if f.last[key] = nil; has {
			f.last[key] = &old
		}
		if fault == fakeLose {
			if f.data[key] = old; !has {
				delete(f.data, key)
			}
		}
	}
	switch fault {
	case fakeCutAfter:
		return "", false
	case fakeHang:
		return "", true
	case fakeError:
		return "-ERR something went wrong\r\n", true
	default:
		return out, true
	}
}

// fakeReads reports whether a command only reads.
func fakeReads(name string) bool {
	return slices.Contains([]string{"GET", "LRANGE", "LLEN", "SMEMBERS", "SISMEMBER", "SCARD"}, name)
}

// fakeItems are the elements or members that a text holds: each ends in ';'.
func fakeItems(text string) []string {
	items := strings.SplitAfter(text, ";")
	return items[:len(items)-1]
}

// fakeRead answers a read of a key that holds a text, or is absent.
func fakeRead(name string, args []string, text string, has bool) string {
	items := fakeItems(text)
	switch name {
	case "LRANGE", "SMEMBERS":
		out := fmt.Sprintf("*%d\r\n", len(items))
		for _, item := range items {
			out += bulk(item)
		}
		return out
	case "LLEN", "SCARD":
		return fmt.Sprintf(":%d\r\n", len(items))
	case "SISMEMBER":
		if slices.Contains(items, args[2]) {
			return ":1\r\n"
		}
		return ":0\r\n"
	}
	if !has {
		return "$-1\r\n"
	}
	return bulk(text)
}

func (f *fakeRedis) execute(name string, args []string) string {
	key := args[1]
	if fakeReads(name) {
		old, has := f.data[key]
		return fakeRead(name, args, old, has)
	}
	old, has := f.data[key]
	null := "$-1\r\n"
	if has {
		null = bulk(old)
	}
	items := fakeItems(old)
	switch name {
	case "RPUSH", "LPUSH", "LPOP", "SADD", "SREM":
		return f.collect(name, key, items, args[2:])
	case "SET":
		f.data[key] = args[2]
		return "+OK\r\n"
	case "GETSET":
		f.data[key] = args[2]
		return null
	case "SETNX":
		if has {
			return ":0\r\n"
		}
		f.data[key] = args[2]
		return ":1\r\n"
	case "DEL":
		delete(f.data, key)
		if has {
			return ":1\r\n"
		}
		return ":0\r\n"
	case "APPEND":
		f.data[key] = old + args[2]
		return fmt.Sprintf(":%d\r\n", len(old)+len(args[2]))
	case "INCR", "INCRBY":
		delta := 1
		if name == "INCRBY" {
			delta, _ = strconv.Atoi(args[2])
		}
		n, _ := strconv.Atoi(old)
		f.data[key] = strconv.Itoa(n + delta)
		return fmt.Sprintf(":%d\r\n", n+delta)
	}
	return "-ERR unknown command\r\n"
}

// collect executes a write to a list or a set.
func (f *fakeRedis) collect(name, key string, items, args []string) string {
	n := len(items)
	out := ""
	switch name {
	case "RPUSH":
		items = append(items, args...)
	case "LPUSH":
		items = append(slices.Clone(args), items...)
	case "LPOP":
		out = "$-1\r\n"
		if n > 0 {
			out, items = bulk(items[0]), items[1:]
		}
	case "SADD":
		for _, m := range args {
			if !slices.Contains(items, m) {
				items = append(items, m)
			}
		}
		out = fmt.Sprintf(":%d\r\n", len(items)-n)
	case "SREM":
		items = slices.DeleteFunc(items, func(m string) bool { return slices.Contains(args, m) })
		out = fmt.Sprintf(":%d\r\n", n-len(items))
	}
	if f.data[key] = strings.Join(items, ""); len(items) == 0 {
		delete(f.data, key)
	}
	if out == "" {
		out = fmt.Sprintf(":%d\r\n", len(items))
	}
	return out
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }
