package sim

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/store"
	"godwit/sim/disk"
)

// faultCase strikes with a fault on purpose. Within a second its mark must be reached.
type faultCase struct {
	kind   string
	strike func(w *world)
}

// faultCases has a case for each mark. They strike a cluster in which slot 0 moves from node 0 to node 1.
func faultCases() []faultCase {
	down := func(w *world, do func(p *process)) { // does something to a machine that is down
		w.procs[0].crash("")
		do(w.procs[0])
	}
	often := func(w *world, do func(p *process)) {
		w.nemesis.faults.every(60*time.Millisecond, func() { do(w.procs[0]) })
	}
	crashes := func(kept string) func(w *world) {
		return func(w *world) {
			w.swarm.sync = 20 * time.Millisecond // so that there is something to lose
			w.points = &pointWatch{w: w, plan: &CrashCase{Kept: kept}}
			often(w, func(p *process) { p.crash("") })
		}
	}
	badStarts := func(w *world) {
		w.swarm.badStarts = 0.9
		often(w, func(p *process) { p.crash("") })
	}
	return []faultCase{
		{markDrop, func(w *world) { w.swarm.drop = 0.1 }},
		{markLostReply, func(w *world) { w.swarm.lostReply = 0.1 }},
		{markLate, func(w *world) { w.swarm.late = 0.1 }},
		{markDuplicate, func(w *world) { w.swarm.duplicate = 0.5 }},
		{markOvertaken, func(w *world) { w.swarm.fifo, w.swarm.late = false, 0.3 }},
		{markSlowLink, func(w *world) {
			w.net.slow = []slowLink{{cut{0, 1}, 50 * time.Millisecond}, {cut{1, 0}, 50 * time.Millisecond}}
		}},
		{markReset, func(w *world) { w.swarm.reset = 0.1 }},
		{markInFlight, func(w *world) { w.swarm.reset = 0.1 }},
		{markCutRequest, func(w *world) { w.net.cuts = []cut{{0, 1}} }},
		{markCutReply, func(w *world) { w.net.cuts = []cut{{1, 0}} }},
		{markWrongNode, func(w *world) { w.net.swap(w.procs[1], w.procs[2]) }},
		{markOneWay, func(w *world) { w.nemesis.cut(partitionOneWay, w.nemesis.cuts(partitionOneWay)) }},
		{markIsolated, func(w *world) { w.nemesis.cut(partitionIsolated, w.nemesis.cuts(partitionIsolated)) }},
		{markHalfDeaf, func(w *world) { w.nemesis.cut(partitionHalfDeaf, w.nemesis.cuts(partitionHalfDeaf)) }},
		{markGroups, func(w *world) { w.nemesis.cut(partitionGroups, w.nemesis.cuts(partitionGroups)) }},
		{markCrash, func(w *world) { w.procs[0].crash("") }},
		{markCrashMidway, func(w *world) { w.procs[0].armCrash() }},
		{markCrashLoop, func(w *world) { w.procs[0].loops = 4; w.procs[0].crash("") }},
		{markCrashRead, func(w *world) { w.swarm.sync, w.swarm.readCrashes = 5*time.Millisecond, 1 }},
		{markSeveral, func(w *world) { w.swarm.several = 1; w.nemesis.faults.several() }},
		{markStall, func(w *world) { w.procs[0].stall(700 * time.Millisecond) }},
		{markBusy, func(w *world) {
			for _, p := range w.procs {
				p.busyUntil = w.now + 400*time.Millisecond
			}
		}},
		{markNewConfig, func(w *world) { down(w, (*process).reconfigure) }},
		{markOldConfig, func(w *world) { w.procs[0].config = 1; down(w, (*process).reconfigure) }},
		{markOldMap, func(w *world) { w.swarm.oldMaps = 1; w.procs[0].crash("") }},
		{markWiped, func(w *world) { w.nemesis.faults.wipeOf(w.procs[2]) }},
		{markAhead, func(w *world) { w.procs[0].setSkew(time.Second) }},
		{markBack, func(w *world) { w.procs[0].setSkew(-time.Second) }},
		{markFast, func(w *world) { w.swarm.drift = 0.05; w.nemesis.faults.drift() }},
		{markSlow, func(w *world) { w.swarm.drift = 0.05; w.nemesis.faults.drift() }},
		{markLost, crashes("lost")},
		{markTorn, crashes("torn")},
		{markSlowSync, func(w *world) { w.swarm.slowSync, w.swarm.slowTime = 0.5, 20*time.Millisecond }},
		{markFullDisk, func(w *world) { w.procs[0].fill(100, time.Second) }},
		{markFailedSync, func(w *world) { w.procs[0].failSync("*.log") }},
		{markReadError, func(w *world) { w.procs[0].failReads(500 * time.Millisecond) }},
		{markReadErrorAtStart, badStarts},
		{markFlip, func(w *world) { w.procs[0].flipTables(w.nemesis.dice, 500*time.Millisecond) }},
		{markFlipAtStart, badStarts},
	}
}

// testMarks starts a job every so often for some time, without faults, in one world after another until each mark was reached. All properties must hold
// in each.
func testMarks(t *testing.T, s swarm, each, during time.Duration, marks []string) {
	t.Helper()
	left := slices.Clone(marks)
	for seed := uint64(crashSeed); len(left) > 0; seed++ {
		if seed == crashSeed+markWorlds {
			t.Fatalf("in %d worlds nothing was marked %q", markWorlds, left)
		}
		w := newWorldOf(seed, s, store.NewCaches(), nil)
		w.setup()
		for _, client := range w.clients {
			client.rest()
		}
		w.nemesis.begin()
		w.nemesis.faults.every(each, func() { w.oper.start(1) })
		w.runUntil(w.now+during, nil)
		for _, p := range w.procs {
			w.cover.worked(p)
		}
		left = slices.DeleteFunc(left, func(mark string) bool { return w.nemesis.counts[mark] > 0 })
		w.liveness()
		if w.failed == nil {
			w.judge()
		}
		w.shutdown()
		if w.failed != nil {
			t.Fatalf("seed %d: %v", seed, w.failed)
		}
	}
}

// markWorlds is in how many worlds a mark must be reached. Most are in the first; which are not changes with everything that changes what is drawn.
const markWorlds = 8

// TestClientMarks moves slots one after another under transactions and commands that wait, on keys of all types: clients meet all
// that there are marks for.
func TestClientMarks(t *testing.T) {
	s := crashSwarm()
	s.kinds, s.wide, s.transactions, s.blocking, s.returns = withAll, 1, 0.4, 0.4, 0.5
	s.clients, s.slots, s.rush, s.latency = 10, 5, 2*time.Millisecond, time.Millisecond
	s.driver.Source.LagKeys, s.driver.Source.Rounds = 1, 10
	testMarks(t, s, 80*time.Millisecond, 10*time.Second, clientMarks())
}

// TestVerbsMarks moves slots by jobs that operators tell to wait and to come back.
func TestVerbsMarks(t *testing.T) {
	s := crashSwarm()
	s.verbs, s.slots, s.driver.Source.HoldEvery = 1, 5, 20*time.Millisecond
	testMarks(t, s, 100*time.Millisecond, 8*time.Second, verbsMarks())
}

// TestLossMarks loses parties of moves for good, and has operators resolve what is left, and what goes on by itself.
func TestLossMarks(t *testing.T) {
	s := crashSwarm()
	s.losses, s.resolves, s.slots, s.clients, s.restart = 300*time.Millisecond, 0.3, 4, 6, 20*time.Millisecond
	s.driver.Source.PauseDeadline = 40 * time.Millisecond
	testMarks(t, s, 300*time.Millisecond, 15*time.Second, lossMarks())
}

// TestClassicMarks moves slots by the verbs of Redis.
func TestClassicMarks(t *testing.T) {
	s := crashSwarm()
	s.classic, s.slots, s.cancels = 1, 5, 0.5
	testMarks(t, s, 60*time.Millisecond, 8*time.Second, classicMarks())
}

// TestMoveMarks moves slots as tables that the source has built, which operators ask for, and as records of which the target builds some.
func TestMoveMarks(t *testing.T) {
	s := crashSwarm()
	s.verbs, s.driver.TableBytes = 1, 4<<10
	testMarks(t, s, 100*time.Millisecond, 3*time.Second, []string{markTable, markTablesTaken})
	s = crashSwarm()
	s.driver.IngestBytes = 1
	testMarks(t, s, 100*time.Millisecond, time.Second, []string{markTableBuilt, markReadBack})
}

// TestStoreMarks moves slots between nodes whose commits are applied by workers, which take their time.
func TestStoreMarks(t *testing.T) {
	s := crashSwarm()
	s.beside, s.work = true, 3*time.Millisecond
	testMarks(t, s, 100*time.Millisecond, 2*time.Second, storeMarks())
}

// TestFaults strikes with each kind of fault in a cluster at work, and demands that its mark is reached and that the cluster recovers:
// everything settles, a new job succeeds, every key can be read, and all properties hold.
func TestFaults(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range faultCases() {
		tested[c.kind] = true
		t.Run(c.kind, func(t *testing.T) {
			w := newWorldOf(crashSeed, crashSwarm(), store.NewCaches(), nil)
			w.setup()
			for _, client := range w.clients {
				client.rest()
			}
			w.nemesis.begin()
			w.runUntil(w.now+50*time.Millisecond, nil)
			w.oper.start(1)
			w.nemesis.counts = map[string]int{}
			c.strike(w)
			w.runUntil(w.now+time.Second, nil)
			if w.nemesis.counts[c.kind] == 0 {
				t.Errorf("no %q happened: %v", c.kind, w.nemesis.counts)
			}
			w.points = nil
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
	for _, m := range Marks() {
		if !tested[m] && !slices.Contains(slices.Concat(clientMarks(), verbsMarks(), moveMarks(), storeMarks(), lossMarks(), classicMarks()), m) {
			t.Errorf("the mark %q has no test", m)
		}
	}
}

// TestFatalNeedsAnExcuse checks that a node that ends without a fault of its disk violates "fatal", and that a flipped bit excuses
// only an error that says so.
func TestFatalNeedsAnExcuse(t *testing.T) {
	for _, c := range []struct {
		flipped  bool
		err      error
		property string
	}{
		{false, store.ErrFormat, "fatal"},
		{true, store.ErrFormat, ""},
		{true, store.ErrDamaged, ""},
		{true, errors.New("something else"), "fatal"},
	} {
		w := founded(t)
		p := w.procs[0]
		if c.flipped {
			const name = dataDir + "/GODWIT-FORMAT"
			w.must(p.disk.FlipRead(name, 0))
			f, err := p.disk.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(f); err != nil || b[0] == 'g' {
				t.Fatalf("read %q, %v", b, err)
			}
			w.must(f.Close())
		}
		p.run(func() { p.fatal(c.err) })
		demand(t, w, c.property)
	}
}

// TestFlippedBit flips bits of all that a node has on disk, one at a time: the node must fail to open, end, or fail the read; never may it
// answer something else than what was written.
func TestFlippedBit(t *testing.T) {
	w := newWorldOf(crashSeed, crashSwarm(), store.NewCaches(), nil)
	w.setup()
	p := w.procs[0]
	for _, client := range w.clients {
		client.rest()
	}
	for range 3 { // so that there is a log that is used, and a MANIFEST of some records
		p.run(p.node.Store().Flush)
		w.runUntil(w.now+150*time.Millisecond, nil)
	}
	want := contentOf(t, p.node.Store())
	image := p.disk.CrashClone(disk.CrashOptions{KeepPercent: 100})
	w.shutdown()
	noticed := map[string]int{}
	for _, glob := range []string{"*.log", tables, "MANIFEST-*", "GODWIT-FORMAT"} {
		p.disk = image
		for _, name := range p.files(glob) {
			info, err := image.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			size := p.vouched(name, info.Size())
			for at := int64(0); at < size; at += 1 + size/97 {
				fs := image.CrashClone(disk.CrashOptions{})
				if err := fs.FlipBit(name, at); err != nil {
					t.Fatal(err)
				}
				got, err := contentAt(fs, p.seat)
				switch {
				case err != nil:
					noticed[glob]++
				case got != want:
					t.Errorf("%s, byte %d: the node serves what was not written", name, at)
				}
			}
		}
		if noticed[glob] == 0 {
			t.Errorf("no flipped bit was noticed in %s", glob)
		}
	}
}

// contentAt is what a store on a disk holds; the error is that of opening it or of reading, or the one with which it ended.
func contentAt(fs *disk.FS, syncer env.Syncer) (text string, err error) {
	var fatal error
	s, err := store.Open(store.Options{
		FS: fs, Dir: dataDir, Syncer: syncer, Fatal: func(err error) { fatal = err },
		Sim: &store.Sim{IgnoreLogSync: fs.IgnoreLogSync, Caches: store.NewCaches()},
	})
	if err != nil {
		return "", err
	}
	defer s.Abandon()
	text, err = readAll(s)
	return text, errors.Join(err, fatal)
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
	swarm := crashSwarm()
	for _, sl := range newKeyspace(&swarm).slots {
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
