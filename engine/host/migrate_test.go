package host

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/engine/host/redistest"
)

// TestMigrateWithRedis sends keys of all types to a real Redis and back, by the MIGRATE of either.
func TestMigrateWithRedis(t *testing.T) {
	addr, ok := redistest.Start(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so MIGRATE was not tried with a real Redis")
		return
	}
	s := start(t, nil)
	ours, redis := connect(t, s.Addr().String()), connect(t, addr)
	want := func(c *asker, want string, args ...string) {
		t.Helper()
		if got := c.do(args...).String(); got != want {
			t.Fatalf("%q: got %s, want %s", args, got, want)
		}
	}
	long := strings.Repeat("x", 300_000)
	for _, args := range [][]string{
		{"SET", "string", long}, {"SET", "number", "17"}, {"RPUSH", "list", "a", "b", long}, {"SADD", "set", "a", "1", "2"},
		{"HSET", "hash", "f", "v", "g", long}, {"ZADD", "zset", "1.5", "a", "-inf", "b"}, {"SET", "expires", "v", "PX", "100000"},
	} {
		ours.do(args...)
	}
	look := [][]string{
		{"GET", "string"}, {"GET", "number"}, {"LRANGE", "list", "0", "-1"}, {"SORT", "set", "ALPHA"}, {"HMGET", "hash", "f", "g"},
		{"ZRANGE", "zset", "0", "-1", "WITHSCORES"}, {"GET", "expires"},
	}
	var held []string
	for _, args := range look {
		held = append(held, ours.do(args...).String())
	}
	keys := []string{"string", "number", "list", "set", "hash", "zset", "expires"}
	host, port, _ := net.SplitHostPort(addr)
	ourHost, ourPort, _ := net.SplitHostPort(s.Addr().String())
	there := append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)
	back := append([]string{"MIGRATE", ourHost, ourPort, "", "0", "5000", "KEYS"}, keys...)
	for range 3 {
		want(ours, "OK", there...)
		want(ours, "0", "DBSIZE")
		want(ours, "NOKEY", there...)
		for i, args := range look {
			want(redis, held[i], args...)
		}
		if ttl := redis.do("PTTL", "expires").Int; ttl <= 0 || ttl > 100000 {
			t.Errorf("PTTL at Redis is %d", ttl)
		}
		want(redis, "OK", back...)
		want(redis, "0", "DBSIZE")
		for i, args := range look {
			want(ours, held[i], args...)
		}
		if ttl := ours.do("PTTL", "expires").Int; ttl <= 0 || ttl > 100000 {
			t.Errorf("PTTL here is %d", ttl)
		}
	}

	one := []string{"MIGRATE", host, port, "number", "0", "5000"}
	want(ours, "OK", append(one, "COPY")...)
	want(ours, `"17"`, "GET", "number")
	want(ours, "OK", "SET", "number", "18")
	want(ours, "(error) ERR Target instance replied with error: BUSYKEY Target key name already exists.", one...)
	want(ours, "OK", append(one, "COPY", "REPLACE")...)
	want(redis, `"18"`, "GET", "number")
	want(redis, "OK", "CONFIG", "SET", "requirepass", "secret")
	want(ours, "(error) ERR Target instance replied with error: NOAUTH Authentication required.", append(one, "REPLACE")...)
	if got := ours.do(append(one, "REPLACE", "AUTH", "wrong")...).String(); !strings.Contains(got, "Target instance replied with error: WRONGPASS") {
		t.Errorf("with a wrong password: %s", got)
	}
	want(ours, `"18"`, "GET", "number")
	want(ours, "OK", append(one, "REPLACE", "AUTH2", "default", "secret")...)
	want(ours, "(nil)", "GET", "number")
	if got := ours.do("MIGRATE", host, port, "set", "1", "5000", "AUTH", "secret").String(); !strings.Contains(got, "DB index is out of range") {
		t.Errorf("with a database that is not there: %s", got)
	}
	want(ours, "3", "SCARD", "set")
}

// TestMigrateUnderWrites: a list goes to a Redis and back while clients push to it wherever it is. A push that was acknowledged is in the list in the
// end, once.
func TestMigrateUnderWrites(t *testing.T) {
	addr, ok := redistest.Start(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so MIGRATE was not tried with a real Redis")
		return
	}
	s := start(t, nil)
	ours, redis := connect(t, s.Addr().String()), connect(t, addr)
	ours.do("RPUSH", "list", "first")
	const rounds, burst = 60, 6 // pushes of each writer while the list goes there and back
	bursts := make([]chan struct{}, 4)
	pushed := make([]map[string]bool, len(bursts))
	var writers sync.WaitGroup
	for i := range bursts {
		bursts[i], pushed[i] = make(chan struct{}, rounds), map[string]bool{}
		to := []string{s.Addr().String(), addr}[i%2]
		writers.Add(1)
		go func() {
			defer writers.Done()
			c := connect(t, to)
			n := 0
			for range bursts[i] {
				for range burst {
					n++
					element := fmt.Sprint(i, ":", n)
					if c.do("RPUSHX", "list", element).Int > 0 { // 0 where the list is not
						pushed[i][element] = true
					}
				}
			}
		}()
	}
	host, port, _ := net.SplitHostPort(addr)
	ourHost, ourPort, _ := net.SplitHostPort(s.Addr().String())
	for range rounds {
		for _, b := range bursts {
			b <- struct{}{}
		}
		if got := ours.do("MIGRATE", host, port, "list", "0", "5000").String(); got != "OK" {
			t.Fatalf("MIGRATE: %s", got)
		}
		if got := redis.do("MIGRATE", ourHost, ourPort, "list", "0", "5000").String(); got != "OK" {
			t.Fatalf("back: %s", got)
		}
	}
	for _, b := range bursts {
		close(b)
	}
	writers.Wait()
	want := map[string]bool{"first": true}
	for _, p := range pushed {
		for e := range p {
			want[e] = true
		}
	}
	list := ours.do("LRANGE", "list", "0", "-1").Elems
	for _, e := range list {
		if !want[e.Str] {
			t.Errorf("%s is in the list twice, or was not acknowledged", e.Str)
		}
		delete(want, e.Str)
	}
	if len(want) > 0 {
		t.Errorf("%d pushes that were acknowledged are not in the list", len(want))
	}
	t.Logf("there and back %d times, %d pushes", rounds, len(list))
}

// TestServers is what Servers says of a server that is not there, does not answer, hangs up, or answers nonsense; and nothing after Close.
func TestServers(t *testing.T) {
	servers := NewServers()
	type outcome struct {
		replies [][]byte
		err     error
	}
	ask := func(addr string) outcome {
		t.Helper()
		got := make(chan outcome, 1)
		servers.Do(addr, [][][]byte{{[]byte("PING")}, {[]byte("ECHO"), []byte("a")}}, 200*time.Millisecond, func(replies [][]byte, err error) { got <- outcome{replies, err} })
		select {
		case o := <-got:
			return o
		case <-time.After(20 * time.Second):
			t.Fatal("no outcome")
			return outcome{}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 1)
	hangUp := make(chan bool, 1)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(<-answers))
			if <-hangUp {
				_ = c.Close()
			} else {
				defer c.Close()
			}
		}
	}()
	for _, x := range []struct {
		answer  string
		hangUp  bool
		replies string
		err     string
	}{
		{"+PONG\r\n$1\r\na\r\n", false, `["+PONG\r\n" "$1\r\na\r\n"]`, ""},
		{"+PONG\r\n$1\r\na\r\n+more\r\n", false, `["+PONG\r\n" "$1\r\na\r\n"]`, ""},
		{"+PONG\r\n$1\r\n", false, `["+PONG\r\n"]`, "timed out"},
		{"", false, `[]`, "timed out"},
		{"+PONG\r\n", true, `["+PONG\r\n"]`, "link failed"},
		{"?what\r\n", false, `[]`, "link failed"},
		{"$300000000\r\n" + strings.Repeat("x", replyLimit), false, `[]`, "more than"},
	} {
		answers <- x.answer
		hangUp <- x.hangUp
		o := ask(listener.Addr().String())
		if got := fmt.Sprintf("%q", o.replies); got != x.replies || (o.err == nil) != (x.err == "") || o.err != nil && !strings.Contains(o.err.Error(), x.err) {
			t.Errorf("%.30q: %s, %v", x.answer, got, o.err)
		}
	}
	testServerConn(t, servers)
	_ = listener.Close()
	if o := ask(listener.Addr().String()); o.err == nil || !strings.Contains(o.err.Error(), "could not be reached") {
		t.Errorf("a server that is not there: %v", o.err)
	}
	servers.Close()
	servers.Do(listener.Addr().String(), nil, time.Second, func([][]byte, error) { t.Error("something happened after Close") })
}

// testServerConn is what a connection that lasts says: things in the order given, replies up to the limit, and nothing more once it has broken.
func testServerConn(t *testing.T, servers *Servers) {
	t.Helper()
	s := start(t, nil)
	conn := servers.Open(s.Addr().String())
	got := make(chan string, 10)
	say := func(limit int, commands ...[][]byte) {
		conn.Do(commands, limit, 10*time.Second, func(replies [][]byte, err error) { got <- fmt.Sprintf("%q %v", replies, err != nil) })
	}
	expect := func(want string) {
		t.Helper()
		select {
		case g := <-got:
			if g != want {
				t.Errorf("a lasting connection: %s, want %s", g, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no outcome")
		}
	}
	word := func(s ...string) (out [][]byte) {
		for _, w := range s {
			out = append(out, []byte(w))
		}
		return out
	}
	say(100, word("CLIENT", "SETNAME", "lasting"), word("SET", "k", strings.Repeat("x", 300_000)))
	say(100, word("CLIENT", "GETNAME"))
	expect(`["+OK\r\n" "+OK\r\n"] false`)
	expect(`["$7\r\nlasting\r\n"] false`)
	say(100, word("STRLEN", "k"), word("GET", "k"))
	expect(`[":300000\r\n"] true`)
	say(1000, word("PING"))
	expect(`[] true`)
	conn = servers.Open(s.Addr().String())
	say(100, word("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"))
	say(100, word("PING"))
	<-got
	expect(`[] true`)
	conn = servers.Open(s.Addr().String())
	conn.Close()
	say(100, word("PING"))
	expect(`[] true`)
	conn.Close()
}
