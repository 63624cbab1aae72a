package command

import (
	"bufio"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/data"
	"godwit/engine/host/redistest"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// server answers requests: this package over a store, or a real Redis.
type server interface {
	do(t testing.TB, args ...string) resp.Value
}

type inlineSyncer struct{}

func (inlineSyncer) Schedule(run func()) { run() }

// local runs commands as the engine does, without its locks.
type local struct {
	st    *store.Store
	table *Table
	tx    data.Tx
	out   resp.Writer
	now   func() int64
	bits  uint64

	replyLimit int // Context.lowReplyLimit of all requests
	written    int // size in bytes of the batch of the latest request
}

// newLocal returns one with an empty store that the end of the test closes.
func newLocal(t testing.TB, version resp.Version, now func() int64) *local {
	t.Helper()
	l := openLocal(t, version, now, nil)
	t.Cleanup(func() { l.close(t) })
	return l
}

// openLocal returns one that the caller must close, on the engine that sim chooses.
func openLocal(t testing.TB, version resp.Version, now func() int64, sim *store.Sim) *local {
	t.Helper()
	st, err := store.Open(store.Options{
		FS: vfs.NewMem(), Dir: "d", Syncer: inlineSyncer{}, Fatal: func(err error) { panic(err) },
		CacheBytes: 8 << 20, MemTableBytes: 4 << 20, Sim: sim,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &local{st: st, table: NewTable(), now: now}
	l.out.Reset(nil, version)
	l.tx.SetRand(l.rand)
	return l
}

// openFuzzed returns one for a single input of a fuzz target, which the caller must close: opening Pebble would take longer than all else.
func openFuzzed(t testing.TB, version resp.Version, now func() int64) *local {
	t.Helper()
	return openLocal(t, version, now, &store.Sim{Memory: true})
}

func (l *local) close(t testing.TB) {
	t.Helper()
	if err := l.st.Close(); err != nil {
		t.Error(err)
	}
}

// rand is a stream of numbers that look random (splitmix64).
func (l *local) rand() uint64 {
	l.bits += 0x9e3779b97f4a7c15
	z := (l.bits ^ l.bits>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func byteArgs(args []string) [][]byte {
	out := make([][]byte, len(args))
	for i, a := range args {
		out[i] = []byte(a)
	}
	return out
}

func (l *local) do(t testing.TB, args ...string) resp.Value {
	t.Helper()
	l.run(t, byteArgs(args))
	v, rest, err := resp.ParseReply(l.out.Bytes())
	if err != nil || len(rest) != 0 {
		t.Fatalf("%q: the reply %q is not exactly one, %v", args, l.out.Bytes(), err)
	}
	return v
}

// run leaves the reply in out.
func (l *local) run(t testing.TB, args [][]byte) {
	t.Helper()
	if err := l.attempt(t, args); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
}

// attempt is run for a store that may be damaged: it returns the error of a transaction that found that, and has changed nothing.
func (l *local) attempt(t testing.TB, args [][]byte) error {
	t.Helper()
	l.out.Truncate(0)
	spec, problem := l.table.Check(args)
	switch {
	case problem != "":
		l.out.Error(problem)
		return nil
	case spec.IsHelp():
		l.table.WriteHelp(spec, &l.out)
		return nil
	case strings.HasPrefix(spec.Name, "command"):
		l.table.WriteCommand(args, &l.out)
		return nil
	case spec.Is(Server):
		l.out.Error("ERR not a data command")
		return nil
	}
	mode := spec.Mode(args)
	for {
		l.tx.Reset(l.st, mode, l.now())
		spec.Handler(&Context{Args: args, Out: &l.out, Tx: &l.tx, Rand: l.rand, lowReplyLimit: l.replyLimit})
		if err := l.tx.Err(); err != nil {
			l.tx.Discard()
			return err
		}
		if !l.tx.NeedsWrite() {
			break
		}
		if mode != data.Read {
			t.Fatalf("%q: a transaction that may write asks for a write", args)
		}
		mode = data.Write
		l.out.Truncate(0)
	}
	l.written = 0
	if b := l.tx.Batch(); b != nil {
		l.written = b.Bytes()
	}
	l.tx.Commit()
	return nil
}

// check checks the invariants of every slot that a key of the list has.
func (l *local) check(t testing.TB, keys ...string) {
	t.Helper()
	var seen slot.Set
	for _, k := range keys {
		s := slot.OfKey([]byte(k))
		if seen.Has(s) {
			continue
		}
		seen.Add(s)
		if err := data.CheckSlot(l.st, s); err != nil {
			t.Fatal(err)
		}
	}
}

// redis is a connection to a real server.
type redis struct {
	conn net.Conn
	in   []byte
	out  *bufio.Writer
}

// startRedis starts a server and connects to it, or reports false if there is none: what needs it says then what was not run.
func startRedis(t *testing.T) (*redis, bool) {
	t.Helper()
	addr, ok := redistest.Start(t)
	if !ok {
		return nil, false
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &redis{conn: conn, out: bufio.NewWriter(conn)}, true
}

func (r *redis) do(t testing.TB, args ...string) resp.Value {
	t.Helper()
	req := "*" + strconv.Itoa(len(args)) + "\r\n"
	for _, a := range args {
		req += "$" + strconv.Itoa(len(a)) + "\r\n" + a + "\r\n"
	}
	if _, err := r.out.WriteString(req); err != nil {
		t.Fatal(err)
	}
	if err := r.out.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		v, rest, err := resp.ParseReply(r.in)
		if err == nil {
			r.in = append([]byte(nil), rest...)
			return v
		}
		if !errors.Is(err, resp.ErrIncomplete) {
			t.Fatalf("%q: %v", args, err)
		}
		buf := make([]byte, 64<<10)
		n, err := r.conn.Read(buf)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		r.in = append(r.in, buf[:n]...)
	}
}
