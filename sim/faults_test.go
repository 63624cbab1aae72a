package sim

import (
	"strings"
	"testing"
	"time"

	"godwit/engine/key"
	"godwit/engine/store"
)

// TestFaults strikes with each fault of a machine or a link in a cluster at work, and demands that it happened and that the
// cluster recovered: everything settles, a new job succeeds, every key can be read, and all properties hold.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		kind   string
		strike func(w *world)
	}{
		{"stall", func(w *world) { w.procs[0].stall(700 * time.Millisecond) }},
		{"drift", func(w *world) { w.swarm.drift = 0.05; w.nemesis.faults.drift() }},
		{"slow link", func(w *world) {
			w.net.slow = []slowLink{{cut{0, 1}, 50 * time.Millisecond}, {cut{1, 0}, 50 * time.Millisecond}}
		}},
		{"full disk", func(w *world) { w.procs[0].fill(100, time.Second) }},
		{"failed sync", func(w *world) { w.procs[0].failSync("*.log") }},
		{"crash loop", func(w *world) { w.procs[0].loops = 4; w.procs[0].crash("") }},
		{"several at once", func(w *world) { w.swarm.several = 1; w.nemesis.faults.several() }},
		{"wrong node", func(w *world) { w.net.swap(w.procs[1], w.procs[2]) }},
	} {
		t.Run(c.kind, func(t *testing.T) {
			w := newWorldOf(crashSeed, crashSwarm(), store.NewCaches(), nil)
			w.setup()
			for _, client := range w.clients {
				client.rest()
			}
			w.nemesis.begin()
			w.runUntil(w.now+50*time.Millisecond, nil)
			w.oper.start(1)
			c.strike(w)
			w.runUntil(w.now+time.Second, nil)
			if w.nemesis.counts[c.kind] == 0 {
				t.Errorf("no %s happened: %v", c.kind, w.nemesis.counts)
			}
			w.liveness()
			if w.failed == nil {
				w.judge()
			}
			w.shutdown()
			if w.failed != nil {
				t.Error(w.failed)
			}
		})
	}
}

// TestFatalNeedsAnExcuse checks that a node that ends without a fault of its disk violates "fatal".
func TestFatalNeedsAnExcuse(t *testing.T) {
	w := newWorldOf(crashSeed, crashSwarm(), store.NewCaches(), nil)
	w.setup()
	w.procs[0].run(func() { w.procs[0].fatal(store.ErrFormat) })
	if w.failed == nil || w.failed.Property != "fatal" {
		t.Errorf("want a violation of fatal, got %v", w.failed)
	}
	w.shutdown()
}

// TestFlippedBit flips bits of a flushed table, one at a time: the node must fail to open, end, or fail the read; never may it
// answer something else than what was written.
func TestFlippedBit(t *testing.T) {
	w := newWorldOf(crashSeed, crashSwarm(), store.NewCaches(), nil)
	w.setup()
	p := w.procs[0]
	p.run(p.node.Store().Flush)
	w.runUntil(w.now+50*time.Millisecond, nil)
	want := contentOf(t, p.node.Store())
	image := p.disk.CrashClone(p.crashOptions())
	w.shutdown()
	names, err := image.List("/data")
	if err != nil {
		t.Fatal(err)
	}
	noticed, tables := 0, 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		tables++
		info, err := image.Stat("/data/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < info.Size(); at += 1 + info.Size()/97 {
			fs := image.CrashClone(p.crashOptions())
			if err := fs.FlipBit("/data/"+name, at); err != nil {
				t.Fatal(err)
			}
			fatal := false
			s, err := store.Open(store.Options{
				FS: fs, Dir: "/data", Syncer: p.seat, Fatal: func(error) { fatal = true },
				Sim: &store.Sim{IgnoreLogSync: fs.IgnoreLogSync, Caches: store.NewCaches()},
			})
			if err != nil {
				noticed++
				continue
			}
			got, err := readAll(s)
			if err != nil || fatal {
				noticed++
			} else if got != want {
				t.Errorf("%s, byte %d: the node serves what was not written", name, at)
			}
			s.Abandon()
		}
	}
	if tables == 0 || noticed == 0 {
		t.Errorf("%d tables, %d flipped bits noticed", tables, noticed)
	}
}

func contentOf(t *testing.T, s *store.Store) string {
	t.Helper()
	text, err := readAll(s)
	if err != nil || text == "" {
		t.Fatalf("content of %d bytes: %v", len(text), err)
	}
	return text
}

// readAll is everything that a store holds in the slots.
func readAll(s *store.Store) (string, error) {
	var b strings.Builder
	for _, sl := range newKeyspace(crashSwarm().slots).slots {
		it, err := s.NewIter(key.SlotSpan(sl))
		if err != nil {
			return "", err
		}
		for ok := it.First(); ok; ok = it.Next() {
			b.Write(it.Key())
			b.WriteByte(0)
			b.Write(it.Value())
			b.WriteByte(0)
		}
		if err := it.Close(); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}
