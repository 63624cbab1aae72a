package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
)

// heldWorkers keeps the steps that were submitted until the test runs them.
type heldWorkers struct {
	mu    sync.Mutex
	steps []func()
}

func (h *heldWorkers) Submit(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, fn)
}

// run executes the steps that there are now, and reports how many.
func (h *heldWorkers) run() int {
	h.mu.Lock()
	steps := h.steps
	h.steps = nil
	h.mu.Unlock()
	for _, fn := range steps {
		fn()
	}
	return len(steps)
}

// besideOptions adds held workers to options, and makes the row cache so small that rows are pushed out.
func besideOptions(options func(vfs.FS) Options) (func(vfs.FS) Options, *heldWorkers) {
	workers := &heldWorkers{}
	return func(fs vfs.FS) Options {
		o := options(fs)
		o.Workers, o.RowCacheBytes = workers, 8<<10
		return o
	}, workers
}

// backlogModel is a store with held workers, and what it must show.
type backlogModel struct {
	fs      *vfs.MemFS
	options func(vfs.FS) Options
	workers *heldWorkers
	syncer  *heldSyncer
	st      *Store
	inRound bool
	want    map[string]string
	past    []map[string]string // past[p] is what the store held at position p
}

func (m *backlogModel) open(t *rapid.T) {
	o := m.options(m.fs)
	m.syncer = o.Syncer.(*heldSyncer)
	m.workers.steps, m.inRound = nil, false
	var err error
	if m.st, err = Open(o); err != nil {
		t.Fatal(err)
	}
	m.st.backlog.minRows, m.st.backlog.room = 2, simBacklogBytes // some commits are applied at once, and some fill the backlog, on either engine
	m.past = []map[string]string{maps.Clone(m.want)}
}

func (m *backlogModel) commit(b *Batch) {
	m.st.Commit(b)
	m.past = append(m.past, maps.Clone(m.want))
}

func (m *backlogModel) close(t *rapid.T) {
	if err := m.st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBacklogIsTransparent: whatever waits to be applied, and whenever a worker comes, everything that reads shows what was committed, a sync makes all of it
// durable, an orderly stop loses nothing, and a loss of power leaves what there was at some position since the last sync.
func TestBacklogIsTransparent(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		var postponed, settled int
		rapid.Check(t, func(t *rapid.T) {
			m := &backlogModel{fs: vfs.NewCrashableMem(), want: map[string]string{}}
			m.options, m.workers = besideOptions(options)
			m.open(t)
			anyKey := func() []byte { return rowKey(rapid.IntRange(0, 60).Draw(t, "key")) }
			put := func(b *Batch, k []byte) {
				if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
					b.Delete(k)
					delete(m.want, string(k))
					return
				}
				v := fmt.Sprint(len(m.past), string(bytes.Repeat([]byte("v"), rapid.SampledFrom([]int{0, 5, 900}).Draw(t, "length"))))
				b.Set(k, []byte(v))
				m.want[string(k)] = v
			}
			wantAll := func(t *rapid.T, r Reader) {
				if got := content(t, r, key.UserSpan()); !maps.Equal(got, m.want) {
					t.Fatalf("shown are %d keys, want %d", len(got), len(m.want))
				}
			}
			t.Repeat(map[string]func(*rapid.T){
				"commit": func(t *rapid.T) {
					b := m.st.NewBatch()
					for range rapid.IntRange(1, 6).Draw(t, "rows") {
						put(b, anyKey())
					}
					m.commit(b)
					if m.st.backlog.waiting.Load() > 0 {
						postponed++
					}
				},
				"commit what can be read": func(t *rapid.T) {
					b := m.st.NewIndexedBatch()
					for range rapid.IntRange(1, 3).Draw(t, "rows") {
						put(b, anyKey())
					}
					k := anyKey()
					v, found, err := b.Get(k)
					if w, there := m.want[string(k)]; err != nil || found != there || string(v) != w {
						t.Fatalf("%q is %q, %v, %v; want %q, %v", k, v, found, err, w, there)
					}
					wantAll(t, b)
					m.commit(b)
				},
				"remove a slot": func(t *rapid.T) {
					span := key.DataSpan(slot.Slot(rapid.IntRange(0, 7).Draw(t, "slot")))
					b := m.st.NewBatch()
					b.DeleteRange(span)
					maps.DeleteFunc(m.want, func(k, _ string) bool { return span.Contains([]byte(k)) })
					m.commit(b)
				},
				"commit apart": func(t *rapid.T) {
					b := m.st.NewBatch()
					k := anyKey()
					put(b, k)
					sl, _, _, _ := key.Split(k)
					b.Apart(key.DataSpan(sl))
					m.commit(b)
				},
				"get": func(t *rapid.T) {
					k := anyKey()
					before := m.st.backlog.waiting.Load()
					v, found, err := m.st.Get(k)
					if w, there := m.want[string(k)]; err != nil || found != there || string(v) != w {
						t.Fatalf("%q is %q, %v, %v; want %q, %v", k, v, found, err, w, there)
					}
					if before > 0 && m.st.backlog.waiting.Load() == 0 {
						settled++
					}
				},
				"iterate":  func(t *rapid.T) { wantAll(t, m.st) },
				"snapshot": func(t *rapid.T) { s := m.st.NewSnapshot(); wantAll(t, s); s.Close() },
				"work":     func(*rapid.T) { m.workers.run() },
				"round": func(t *rapid.T) {
					if m.inRound = !m.inRound; m.inRound {
						m.st.BeginRound()
						return
					}
					if rapid.Bool().Draw(t, "apply") {
						m.st.ApplyRound()
					}
					m.st.EndRound()
				},
				"": func(t *rapid.T) {
					if n := m.st.backlog.waiting.Load(); n > 0 && !m.inRound && len(m.workers.steps) == 0 {
						t.Fatalf("%d commits wait, no worker will come, and no round will end", n)
					}
				},
				"flush": func(*rapid.T) { m.st.Flush() },
				"stop": func(t *rapid.T) {
					m.close(t)
					m.open(t)
					wantAll(t, m.st)
				},
				"loss of power": func(t *rapid.T) {
					durable := 0
					if rapid.Bool().Draw(t, "sync") {
						m.st.WhenDurable(m.st.Last(), func() {})
						m.syncer.run()
						durable = int(m.st.Last())
					}
					if int(m.st.Durable()) != durable && durable != 0 {
						t.Fatalf("durable is %d, want %d", m.st.Durable(), durable)
					}
					durable = int(m.st.Durable())
					past, left := m.past, m.fs.CrashClone(vfs.CrashCloneCfg{})
					m.close(t)
					m.fs, m.want = left, map[string]string{}
					m.open(t)
					m.want = content(t, m.st, key.UserSpan())
					m.past = []map[string]string{maps.Clone(m.want)}
					for _, p := range past[durable:] {
						if maps.Equal(p, m.want) {
							return
						}
					}
					t.Fatalf("what is left is not what there was at any position from %d to %d", durable, len(past)-1)
				},
			})
			m.close(t)
		})
		if postponed == 0 || settled == 0 {
			t.Errorf("%d commits were postponed, %d reads had to settle: the test shows nothing", postponed, settled)
		}
	})
}

// TestBacklogIsBounded: who commits while no worker comes settles, and large commits, range deletes and what nobody reads are applied at once.
func TestBacklogIsBounded(t *testing.T) {
	options, workers := besideOptions(testOptions)
	st := openOn(t, options)
	commit := func(rows, length int) {
		b := st.NewBatch()
		for i := range rows {
			b.Set(rowKey(i), make([]byte, length))
		}
		st.Commit(b)
	}
	waits := func(what string, want int64) {
		t.Helper()
		if got := st.backlog.waiting.Load(); got != want {
			t.Errorf("%s: %d commits wait, want %d", what, got, want)
		}
	}
	commit(backlogRows-1, 10)
	waits("few rows", 0)
	commit(backlogRows, 10)
	waits("some rows", 1)
	commit(1, 10)
	waits("few rows behind others", 2)
	if n := workers.run(); n != 1 {
		t.Errorf("%d steps were submitted", n)
	}
	waits("after a step", 0)
	for _, length := range []int{1024, 10} { // a row of ten bytes counts for rowBytes
		most, size := 0, backlogRows*max(length, rowBytes)
		for range 3 * backlogBytes / size {
			commit(backlogRows, length)
			most = max(most, st.backlog.weight)
		}
		if most < backlogBytes*9/10 || most > backlogBytes {
			t.Errorf("rows of %d bytes: %d bytes waited at most, want somewhat less than %d", length, most, backlogBytes)
		}
		if n := st.backlog.waiting.Load(); n > int64(backlogBytes/size) {
			t.Errorf("rows of %d bytes: %d commits wait", length, n)
		}
		st.settle()
	}
	commit(backlogRows, backlogBytes/backlogRows)
	waits("a large commit", 0)
	commit(backlogRows, 10)
	b := st.NewBatch()
	b.DeleteRange(key.DataSpan(1))
	st.Commit(b)
	waits("a range delete", 0)
}

// TestRoundGathersCommits: commits of few rows wait for the end of the round that makes them, and are given to the engine as one; those of more rows,
// and what comes behind them, are left to the worker whom they have woken.
func TestRoundGathersCommits(t *testing.T) {
	options, workers := besideOptions(testOptions)
	st := openOn(t, options)
	commit := func(rows, from int) {
		b := st.NewBatch()
		for i := range rows {
			b.Set(rowKey(from+i), fmt.Append(nil, from+i))
		}
		st.Commit(b)
	}
	want := func(what string, waiting int64, steps int) {
		t.Helper()
		if w, s := st.backlog.waiting.Load(), len(workers.steps); w != waiting || s != steps {
			t.Errorf("%s: %d commits wait and %d workers come, want %d and %d", what, w, s, waiting, steps)
		}
	}
	logged := func() uint64 { return st.kv.(*pebbleKV).db.Metrics().WAL.BytesIn }
	const commits, head = 20, 12 // of a batch
	commit(1, commits)
	before := logged()
	commit(1, commits)
	one := logged() - before
	st.BeginRound()
	for i := range commits {
		commit(1, commits+i)
	}
	want("in a round", commits, 0)
	before = logged()
	st.ApplyRound()
	want("at its end", 0, 0)
	commit(1, commits)
	want("when it goes on", 1, 0)
	st.ApplyRound()
	st.EndRound()
	want("when it has ended", 0, 0)
	if n := logged() - before; n != commits*(one-head)+head+one { // and the one by itself
		t.Errorf("%d commits of %d bytes took %d of the log, want a single head of %d", commits, one, n, head)
	}
	for i := range commits {
		if v, found, err := st.kv.get(rowKey(commits+i), nil); err != nil || !found || string(v) != fmt.Sprint(commits+i) {
			t.Errorf("the engine has %q, %v, %v of commit %d", v, found, err, i)
		}
	}

	st.BeginRound()
	commit(1, 0)
	commit(backlogRows, 0)
	commit(1, 0)
	want("with a commit of more rows", 3, 1)
	st.ApplyRound()
	st.EndRound()
	want("a worker will come", 3, 1)
	commit(1, 0)
	want("behind others", 4, 1)
	workers.run()
	want("it has come", 0, 0)
	commit(1, 0)
	want("without a round", 0, 0)

	st.BeginRound()
	commit(1, 0)
	st.backlog.applying.Lock() // as somebody has who applies what was there before
	st.ApplyRound()
	want("beside somebody who applies", 1, 1)
	st.backlog.applying.Unlock()
	workers.run()
	commit(1, 0)
	want("in the same round", 1, 0)
	st.EndRound()
	want("left by the round", 1, 1)
	workers.run()
	want("at last", 0, 0)

	st.BeginRound()
	commit(1, 0)
	st.backlog.rounds.Add(-1) // as in the middle of EndRound
	commit(1, 0)
	want("behind what a round leaves", 2, 1)
	workers.run()
	want("at the very last", 0, 0)
}

// TestGather: few rows are gathered, in their order and up to a bound; a commit of more rows stays by itself.
func TestGather(t *testing.T) {
	st := openMem(t)
	batches := func(rows, length int, n int) (out []*Batch) {
		for i := range n {
			b := st.NewBatch()
			for range rows {
				b.Set(rowKey(0), append(fmt.Append(nil, i), make([]byte, length)...))
			}
			out = append(out, b)
		}
		return out
	}
	for _, c := range []struct {
		what    string
		batches []*Batch
		want    int
	}{
		{"one", batches(1, 10, 1), 1},
		{"few rows", batches(backlogRows-1, 10, 9), 9},
		{"many rows", batches(backlogRows, 10, 9), 1},
		{"few behind many", append(batches(backlogRows, 10, 1), batches(1, 10, 3)...), 1},
		{"many behind few", append(batches(1, 10, 3), batches(backlogRows, 10, 3)...), 3},
		{"long rows", batches(1, gatheredBytes/4, 9), 4},
		{"a row longer than all may be", batches(1, 2*gatheredBytes, 3), 1},
	} {
		if n := gather(c.batches); n != c.want {
			t.Errorf("%s: %d are gathered, want %d", c.what, n, c.want)
			continue
		}
		if err := st.kv.apply(c.batches[0]); err != nil {
			t.Fatal(err)
		}
		if v, _, err := st.kv.get(rowKey(0), nil); err != nil || !bytes.HasPrefix(v, append(fmt.Append(nil, c.want-1), 0)) {
			t.Errorf("%s: %.5q, %v; want what the last of %d has written", c.what, v, err, c.want)
		}
	}
}

// goWorkers runs each step on a goroutine of its own.
type goWorkers struct{ done sync.WaitGroup }

func (g *goWorkers) Submit(fn func()) { g.done.Go(fn) }

// openBeside opens a store whose commits are applied on goroutines, with a row cache so small that rows are pushed out.
func openBeside(t *testing.T) (*Store, *goWorkers) {
	options, _ := besideOptions(testOptions)
	workers := &goWorkers{}
	return openOn(t, func(fs vfs.FS) Options {
		o := options(fs)
		o.Workers = workers
		return o
	}), workers
}

// TestBacklogBesideReaders: many commit and read their keys at once, in caches so small that rows are pushed out, while others look at keys of which
// they hold no lock, which must not make the cache keep what is out of date.
func TestBacklogBesideReaders(t *testing.T) {
	st, workers := openBeside(t)
	const writers, rounds, keys = 4, 400, 24
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			k := func(i int) []byte { return key.AppendRecord(nil, slot.Slot(w), fmt.Append(nil, i)) }
			random := seeded(uint64(w))
			last := map[int]string{}
			for round := range rounds {
				b := st.NewBatch()
				for range backlogRows {
					i, v := random.IntN(keys), fmt.Sprint(round, string(make([]byte, random.IntN(300))))
					b.Set(k(i), []byte(v))
					last[i] = v
				}
				st.Commit(b)
				i := random.IntN(keys)
				if v, _, err := st.Get(k(i)); err != nil || string(v) != last[i] {
					t.Errorf("writer %d, round %d: %.5q, %v; want %.5q", w, round, v, err, last[i])
				}
				if _, _, err := st.Get(key.AppendRecord(nil, slot.Slot((w+1)%writers), fmt.Append(nil, i))); err != nil {
					t.Error(err)
				}
				if round%16 == 0 {
					got := content(t, st, key.DataSpan(slot.Slot(w)))
					for i, v := range last {
						if got[string(k(i))] != v {
							t.Errorf("writer %d, round %d: an iterator shows %.5q, want %.5q", w, round, got[string(k(i))], v)
						}
					}
				}
			}
		})
	}
	all.Wait()
	workers.done.Wait()
	if n := st.backlog.waiting.Load(); n != 0 {
		t.Errorf("%d commits wait, and no worker will come", n)
	}
}

// TestBacklogBesideLookers: two commit large batches and read their keys at once, while others look at any of them, without a lock and by snapshots. A look
// that misses a row which is pushed out at this moment must not bring back what was there before.
func TestBacklogBesideLookers(t *testing.T) {
	st, workers := openBeside(t)
	const writers, rounds, keys = 2, 600, 64
	k := func(w, i int) []byte { return key.AppendRecord(nil, slot.Slot(w), fmt.Append(nil, i)) }
	var over atomic.Bool
	var readers, all sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			random := seeded(uint64(100 + r))
			for !over.Load() {
				w, i := random.IntN(writers), random.IntN(keys)
				if random.IntN(50) == 0 {
					s := st.NewSnapshot()
					_, _, _ = s.Get(k(w, i))
					s.Close()
				}
				if _, _, err := st.Get(k(w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for w := range writers {
		all.Go(func() {
			random := seeded(uint64(w))
			last := map[int]string{}
			for round := range rounds {
				b := st.NewBatch()
				for i := range keys {
					if random.IntN(8) == 0 {
						b.Delete(k(w, i))
						delete(last, i)
						continue
					}
					v := fmt.Sprint(round, string(make([]byte, random.IntN(300))))
					b.Set(k(w, i), []byte(v))
					last[i] = v
				}
				st.Commit(b)
				for range 20 {
					i := random.IntN(keys)
					if v, found, err := st.Get(k(w, i)); err != nil || string(v) != last[i] || found != (last[i] != "") {
						t.Errorf("writer %d, round %d: %.5q, %v; want %.5q", w, round, v, err, last[i])
						return
					}
				}
			}
		})
	}
	all.Wait()
	over.Store(true)
	readers.Wait()
	workers.done.Wait()
}

// TestTablesComeBehindTheBacklog requires that a table that is taken in lies over what was committed before, also if that waits.
func TestTablesComeBehindTheBacklog(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		options, workers := besideOptions(options)
		st := openOn(t, options)
		var keys [][]byte
		b := st.NewBatch()
		for i := range backlogRows {
			keys = append(keys, key.AppendRecord(nil, 3, fmt.Append(nil, i)))
			b.Set(keys[i], []byte("old"))
		}
		st.Commit(b)
		slices.SortFunc(keys, bytes.Compare)
		var records []byte
		for _, k := range keys {
			records = AppendRecord(records, k, []byte("new"))
		}
		if n := st.backlog.waiting.Load(); n != 1 {
			t.Fatalf("%d commits wait, want 1", n)
		}
		a, ok, err := st.Arrive("one", records)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := a.Ingest(); err != nil {
			t.Fatal(err)
		}
		workers.run()
		got := content(t, st, key.DataSpan(3))
		for k, v := range got {
			if v != "new" {
				t.Errorf("%q is %q, want what the table has", k, v)
			}
		}
		if len(got) != backlogRows {
			t.Errorf("there are %d keys, want %d", len(got), backlogRows)
		}
	})
}

// TestBacklogNeverGoesBack: whoever has been shown a row of a commit that is on its way into the row cache is shown it again, also when rows of the same commit
// have pushed it out meanwhile and the queue does not have it yet.
func TestBacklogNeverGoesBack(t *testing.T) {
	st, workers := openBeside(t)
	const rounds, rows = 2000, 200
	first := key.AppendRecord(nil, 1, []byte("first"))
	var over atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			shown := uint64(0)
			for !over.Load() {
				v, found, err := st.Get(first)
				if err != nil || !found && shown > 0 {
					t.Errorf("%v, %v, after %d was shown", found, err, shown)
					return
				}
				if !found {
					continue
				}
				if now := binary.BigEndian.Uint64(v); now < shown {
					t.Errorf("%d is shown after %d", now, shown)
					return
				} else {
					shown = now
				}
			}
		})
	}
	for round := range uint64(rounds) {
		b := st.NewBatch()
		b.Set(first, binary.BigEndian.AppendUint64(nil, round+1))
		for i := range rows { // twenty times what the cache holds
			b.Set(key.AppendRecord(nil, 2, fmt.Append(nil, i)), make([]byte, 700+int(round%7)))
		}
		st.Commit(b)
		if t.Failed() {
			break
		}
	}
	over.Store(true)
	readers.Wait()
	workers.done.Wait()
}

// duringGet is an engine in which something happens in the middle of the next look.
type duringGet struct {
	kv
	do func()
}

func (d *duringGet) get(k, dst []byte) ([]byte, bool, error) {
	if do := d.do; do != nil {
		d.do = nil
		do()
	}
	return d.kv.get(k, dst)
}

// TestLearningSettles: a commit that is postponed between the look in vain and the reading of the slot that follows it, of which the filter is cleared, is not
// passed over: what it has written is not absent.
func TestLearningSettles(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		options, workers := besideOptions(options)
		st := openOn(t, options)
		st.backlog.minRows = 1
		put := func(k []byte) {
			b := st.NewBatch()
			b.Set(k, []byte("v"))
			st.Commit(b)
		}
		r := st.names
		for i := 0; r.added.Load() <= r.full; i++ {
			put(key.AppendRecord(nil, slot.Slot(100+i%50), fmt.Append(nil, i)))
		}
		workers.run()
		st.settle()
		var asked []byte
		for i, helpless := 0, false; !helpless; i++ { // of most keys a full filter knows that they are not there
			asked = key.AppendRecord(nil, 3, fmt.Append(nil, "asked", i))
			_, helpless = r.absent(asked)
		}
		written := key.AppendRecord(nil, 3, []byte("written"))
		clears := r.clears.Load()
		st.kv = &duringGet{kv: st.kv, do: func() { put(written) }}
		if _, found, err := st.Get(asked); found || err != nil {
			t.Fatal(found, err)
		}
		if r.clears.Load() == clears || r.unknown[0].Load()&(1<<3) != 0 {
			t.Fatal("the filter was not cleared, or the slot was not learned: the test shows nothing")
		}
		if absent, _ := r.absent(written); absent {
			t.Error("what was written counts as absent")
		}
		wantValue(t, st, string(written), "v")
	})
}
