package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/resp"
)

// asker is a connection to a server, Godwit or Redis, that asks and waits for the answer.
type asker struct {
	t  testing.TB
	nc net.Conn
	in []byte
}

func connect(t testing.TB, addr string) *asker {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &asker{t: t, nc: nc}
}

func (c *asker) send(args ...string) {
	c.t.Helper()
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.nc.Write(b); err != nil {
		c.t.Error(err)
	}
}

// receive returns the next reply, or reports false if none comes in time.
func (c *asker) receive(limit time.Duration) (resp.Value, bool) {
	c.t.Helper()
	if err := c.nc.SetReadDeadline(time.Now().Add(limit)); err != nil {
		c.t.Error(err)
	}
	for {
		v, rest, err := resp.ParseReply(c.in)
		if err == nil {
			c.in = append([]byte(nil), rest...)
			return v, true
		}
		if !errors.Is(err, resp.ErrIncomplete) {
			c.t.Errorf("%q: %v", c.in, err)
			return resp.Value{}, false
		}
		buf := make([]byte, 4096)
		n, err := c.nc.Read(buf)
		if err != nil {
			return resp.Value{}, false
		}
		c.in = append(c.in, buf[:n]...)
	}
}

func (c *asker) do(args ...string) resp.Value {
	c.t.Helper()
	c.send(args...)
	v, ok := c.receive(30 * time.Second)
	if !ok {
		c.t.Errorf("%q was not answered", args)
	}
	return v
}

// TestStressTransactions has many connections count in one key by WATCH, GET, MULTI, SET, EXEC and move amounts between accounts
// by MULTI and EXEC, while others look. Every EXEC that was answered with replies has counted, no other has, and nobody sees the
// accounts out of balance.
func TestStressTransactions(t *testing.T) {
	s := start(t, nil)
	const counters, movers, lookers, accounts = 8, 4, 4, 5
	account := func(i int) string { return "account" + strconv.Itoa(i) }
	setup := connect(t, s.Addr().String())
	setup.do("SET", "counter", "0")
	for i := range accounts {
		setup.do("SET", account(i), "100")
	}
	var counted, refused, looked atomic.Int64
	enough := func() bool {
		return counted.Load() >= 500 && refused.Load() >= 100 && looked.Load() >= 100 || t.Failed()
	}
	var work sync.WaitGroup
	worker := func(seed int, step func(c *asker, r *rand.Rand)) {
		work.Go(func() {
			c, r := connect(t, s.Addr().String()), rand.New(rand.NewPCG(1, uint64(seed)))
			for !enough() {
				step(c, r)
			}
		})
	}
	for i := range counters {
		worker(i, func(c *asker, r *rand.Rand) {
			c.do("WATCH", "counter")
			n, err := strconv.Atoi(c.do("GET", "counter").Str)
			if err != nil {
				t.Error(err)
			}
			if r.IntN(10) == 0 {
				c.do("UNWATCH")
				return
			}
			c.do("MULTI")
			c.do("SET", "counter", strconv.Itoa(n+1))
			switch v := c.do("EXEC"); {
			case v.Kind == resp.ArrayKind && v.String() == "[OK]":
				counted.Add(1)
			case v.Kind == resp.NullKind:
				refused.Add(1)
			default:
				t.Errorf("EXEC answered %s", v)
			}
		})
	}
	for i := range movers {
		worker(100+i, func(c *asker, r *rand.Rand) {
			amount := strconv.Itoa(r.IntN(10))
			c.do("MULTI")
			c.do("DECRBY", account(r.IntN(accounts)), amount)
			c.do("INCRBY", account(r.IntN(accounts)), amount)
			if v := c.do("EXEC"); len(v.Elems) != 2 {
				t.Errorf("EXEC answered %s", v)
			}
		})
	}
	for i := range lookers {
		worker(200+i, func(c *asker, _ *rand.Rand) {
			c.do("MULTI")
			for i := range accounts {
				c.do("GET", account(i))
			}
			sum := 0
			for _, e := range c.do("EXEC").Elems {
				n, err := strconv.Atoi(e.Str)
				if err != nil {
					t.Error(err)
				}
				sum += n
			}
			looked.Add(1)
			if sum != 100*accounts {
				t.Errorf("the accounts hold %d together", sum)
			}
		})
	}
	work.Wait()
	if got := setup.do("GET", "counter").Str; got != strconv.FormatInt(counted.Load(), 10) {
		t.Errorf("the counter is %s after %d that counted", got, counted.Load())
	}
	t.Logf("%d counted, %d refused", counted.Load(), refused.Load())
}

// A killed client's socket is closed at once.
func TestClientKillClosesTheSocket(t *testing.T) {
	s := start(t, nil)
	victim, killer := connect(t, s.Addr().String()), connect(t, s.Addr().String())
	id := strconv.FormatInt(victim.do("CLIENT", "ID").Int, 10)
	if v := killer.do("CLIENT", "KILL", "ID", id); v.Int != 1 {
		t.Fatalf("CLIENT KILL answered %s", v)
	}
	if v, ok := victim.receive(5 * time.Second); ok {
		t.Errorf("a killed client was answered %s", v)
	}
	if v := killer.do("CLIENT", "KILL", "ID", id); v.Int != 0 {
		t.Errorf("a killed client is still there")
	}
	self := strconv.FormatInt(killer.do("CLIENT", "ID").Int, 10)
	if v := killer.do("CLIENT", "KILL", "ID", self, "SKIPME", "no"); v.Int != 1 {
		t.Errorf("CLIENT KILL answered %s", v)
	}
	if v, ok := killer.receive(5 * time.Second); ok {
		t.Errorf("a client that killed itself was answered %s", v)
	}
}

// MONITOR shows commands while its connection has nothing to ask.
func TestMonitorOverASocket(t *testing.T) {
	s := start(t, func(c *Config) { c.Sync = engine.SyncAlways })
	watcher, c := connect(t, s.Addr().String()), connect(t, s.Addr().String())
	watcher.do("MONITOR")
	c.do("SET", "k", "v")
	if v, ok := watcher.receive(5 * time.Second); !ok || !strings.HasSuffix(v.Str, `"SET" "k" "v"`) {
		t.Errorf("MONITOR shows %s", v)
	}
}
