package disk_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	span "godwit/engine/key"
	"godwit/engine/store"
	"godwit/sim/disk"
)

// rounds keeps the sync rounds of a store until the test runs them.
type rounds struct{ due []func() }

func (r *rounds) Schedule(run func()) { r.due = append(r.due, run) }

func (r *rounds) run() {
	due := r.due
	r.due = nil
	for _, f := range due {
		f()
	}
}

// crashed is a store at work on a disk whose power may go.
type crashed struct {
	t      *testing.T
	fs     *disk.FS
	engine string
	caches *store.Caches
	rounds rounds
	states []map[string]string // after each commit, the first one being what there was at the start
	// durable is how many commits were known to be durable when the power went.
	durable int
}

func (c *crashed) dead() bool { return c.fs.Captured() != nil }

// open opens the store. On a disk whose power goes meanwhile it may fail.
func (c *crashed) open() (*store.Store, error) {
	return store.Open(store.Options{
		FS: c.fs, Dir: "/data", Syncer: &c.rounds,
		Fatal: func(err error) {
			if !c.dead() {
				c.t.Fatal(err)
			}
		},
		Sim: &store.Sim{Memory: c.engine == "memory", IgnoreLogSync: c.fs.IgnoreLogSync, Caches: c.caches},
	})
}

// work commits, syncs and flushes until the power goes, or it is done.
func (c *crashed) work(r *rand.Rand) {
	s, err := c.open()
	if err != nil {
		if !c.dead() {
			c.t.Fatal(err)
		}
		return
	}
	defer s.Abandon()
	now := c.content(s)
	c.states, c.durable = []map[string]string{maps.Clone(now)}, 0
	for i := range 60 {
		b := s.NewBatch()
		for range 1 + r.IntN(3) {
			k := fmt.Sprintf("k%d", r.IntN(10))
			switch r.IntN(6) {
			case 0:
				b.Delete([]byte(k))
				delete(now, k)
			case 1:
				b.DeleteRange(span.Span{Lo: []byte(k), Hi: []byte("k9")})
				maps.DeleteFunc(now, func(o, _ string) bool { return o >= k && o < "k9" })
			default:
				v := fmt.Sprintf("%d-%0*d", i, r.IntN(3000), 0)
				b.Set([]byte(k), []byte(v))
				now[k] = v
			}
		}
		c.states = append(c.states, maps.Clone(now)) // it may be on the disk although it never returned
		s.Commit(b)
		if c.dead() {
			return
		}
		if r.IntN(3) == 0 {
			n := len(c.states) - 1
			s.WhenDurable(s.Last(), func() {
				if !c.dead() {
					c.durable = n
				}
			})
			c.rounds.run()
		}
		if r.IntN(25) == 0 {
			s.Flush()
		}
		if c.fs.Settle(); c.dead() {
			return
		}
	}
}

func (c *crashed) content(s *store.Store) map[string]string {
	it, err := s.NewIter(span.Span{Lo: []byte("a"), Hi: []byte("z")})
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key())] = string(it.Value())
	}
	if err := it.Close(); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// TestStoreSurvivesEveryCrash takes the power away before each operation of the disk, opening included: what is there then is what
// some commit left, none of those that were known to be durable being lost. The power goes again while the store opens, and
// what was there stays.
func TestStoreSurvivesEveryCrash(t *testing.T) {
	for _, engine := range []string{"memory", "pebble"} {
		t.Run(engine, func(t *testing.T) {
			caches := store.NewCaches()
			defer caches.Close()
			step := uint64(1)
			if testing.Short() || engine == "pebble" {
				step = 7
			}
			crashes, lost := 0, 0
			for n := uint64(1); ; n += step {
				done := false
				for seed, keep := range []int{0, 50, 50, 90, 100} {
					o := disk.CrashOptions{Seed: uint64(seed), KeepPercent: keep}
					c := &crashed{t: t, fs: disk.New(disk.Options{Seed: n}), engine: engine, caches: caches}
					c.fs.CrashAt(n, o)
					c.work(rand.New(rand.NewPCG(1, 2)))
					if done = !c.dead(); done {
						break
					}
					crashes++
					if c.check(n, o) {
						lost++
					}
				}
				if done {
					break
				}
			}
			t.Logf("%d crashes, %d of which lost something that was visible", crashes, lost)
			if crashes < 60 || lost == 0 || lost == crashes {
				t.Errorf("%d crashes, %d of which lost something that was visible", crashes, lost)
			}
		})
	}
}

// check opens what the crash left and reports whether it lost a commit that was visible.
func (c *crashed) check(n uint64, o disk.CrashOptions) (lost bool) {
	states, durable := c.states, c.durable
	if len(states) == 0 {
		states = []map[string]string{{}}
	}
	c.fs = c.fs.Captured()
	left := c.fs
	again := 0
	for at := uint64(1); ; at += 2 { // while it opens
		try := &crashed{t: c.t, fs: left.CrashClone(disk.CrashOptions{KeepPercent: 100}), engine: c.engine, caches: c.caches}
		try.fs.CrashAt(at, o)
		s, err := try.open()
		if s != nil {
			s.Abandon()
		}
		if !try.dead() {
			if err != nil {
				c.t.Fatalf("crash before operation %d, %+v: %v", n, o, err)
			}
			break
		}
		if again++; at == 1+2*(n%5) { // one of them counts
			c.fs = try.fs.Captured()
		}
	}
	if again == 0 {
		c.t.Fatal("opening does nothing to the disk")
	}
	s, err := c.open()
	if err != nil {
		c.t.Fatalf("crash before operation %d, %+v: %v", n, o, err)
	}
	defer s.Abandon()
	got := c.content(s)
	for i := len(states) - 1; i >= durable; i-- {
		if maps.Equal(got, states[i]) {
			return i < len(states)-1
		}
	}
	c.t.Fatalf("crash before operation %d, %+v: %d keys, which no commit from %d (durable) to %d left", n, o, len(got), durable, len(states)-1)
	return false
}
