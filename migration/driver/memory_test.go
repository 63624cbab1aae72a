package driver

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// carriesData reports whether a call carries records or a block.
func carriesData(args [][]byte) bool {
	if len(args) != 3 || string(args[1]) != "MIGRATION" {
		return false
	}
	m, err := migration.DecodeMessage(args[2])
	return err == nil && (m.Kind == migration.MsgData || m.Kind == migration.MsgBlock)
}

// heap is how many bytes are reachable.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one has let finalizers free
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// alone runs a test in a process of its own, and reports whether this is that process: what tests before have left goes when the last of their timers does,
// with caches of 32 MB each.
func alone(t *testing.T) bool {
	const mark = "GODWIT_TEST_ALONE"
	if os.Getenv(mark) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mark+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// TestMemoryIsWhatIsHeld requires that the account of a job whose target does not answer says what its slots hold, by the real heap, and that
// they hold no more of data than they may. An account that forgets a part lets them hold more.
func TestMemoryIsWhatIsHeld(t *testing.T) {
	if !alone(t) {
		return
	}
	const limit, margin = 8 << 20, 1 << 20
	for _, payload := range []engine.Payload{engine.PayloadRaw, engine.PayloadTables, engine.PayloadCommand} {
		w := newWorld(t, 4)
		w.inOrder = true
		cfg := quick()
		cfg.JobMemory, cfg.SlotsAtOnce, cfg.ChunkBytes, cfg.ChunkRecords, cfg.TableBytes = limit, 8, 62<<10, 4096, 256<<10 // a little less than what the heap has room for
		cfg.CallTimeout, cfg.DigestRecords = 10*time.Second, 4096
		w.born(2, cfg)
		n := w.nodes[0]
		var slots []slot.Slot
		for sl := slot.Slot(100); sl < 108; sl++ {
			slots = append(slots, sl)
			tag := tagOf(sl)
			for i := range 150 {
				w.want(n, "OK", "SET", fmt.Sprintf("{%s}%d", tag, i), random(w, 8<<10))
			}
		}
		n.Store().Flush()
		for _, sl := range slots { // the caches are filled before anything is measured
			if _, err := store.ReadChunk(n.Store(), key.DataSpan(sl), store.ChunkLimits{Bytes: 1 << 30, Records: 1 << 30}, store.WithDigest); err != nil {
				t.Fatal(err)
			}
		}
		w.hang = carriesData
		before := heap()
		job := w.startWith(engine.JobOptions{Payload: payload}, 0, 1, slots...)
		w.pass(3 * time.Second)
		grown, st := heap()-before, n.job(job)
		if grown > st.Memory+margin || grown < st.Memory/2-margin {
			t.Errorf("%q: the heap has grown by %d bytes, the account says %d", payload, grown, st.Memory)
		}
		if st.Memory < limit/8 || st.Memory > limit/dataPart {
			t.Errorf("%q: %d bytes are held where the target does not answer, of %d for data", payload, st.Memory, limit/dataPart)
		}
		if want := "what the job may hold in memory is in use"; st.Waiting != want {
			t.Errorf("%q: the job waits for %q, want %q", payload, st.Waiting, want)
		}
		w.hang = nil
		if st := w.ended(n, job); st.State != engine.JobSuccess || st.Memory != 0 || st.MemoryMost > limit {
			t.Errorf("%q: at the end %s, %d bytes are held, %d at most", payload, st.State, st.Memory, st.MemoryMost)
		}
		w.close()
	}
}

// random is text that no compression shortens by much.
func random(w *world, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return string(b)
}

// TestJobMemory requires that a job with a sorted set that is large, as measured by the memory of the job, and with other slots, all under writes, to a
// slow target, holds no more than it may, whatever the payload, and nothing at its end; and that no write is lost where slots wait for each other's
// memory and trackers collapse for want of it.
func TestJobMemory(t *testing.T) {
	const limit, busyFor = 128 << 10, 150 // and how many turns the writers of the sorted set take
	for _, payload := range []engine.Payload{engine.PayloadRaw, engine.PayloadTables, engine.PayloadCommand} {
		w := newWorld(t, 5)
		w.inOrder, w.lat = true, 5*time.Millisecond
		cfg := quick()
		cfg.JobMemory, cfg.ChunkBytes, cfg.ChunkRecords, cfg.TableBytes, cfg.IngestBytes = limit, 2<<10, 4096, 32<<10, 6<<10
		cfg.Source.LagKeys, cfg.CallTimeout, cfg.DigestRecords = 200, time.Second, 1000
		w.born(2, cfg)
		n := w.nodes[0]
		const members = 3000
		for i := 0; i < members; i += 100 {
			args := []string{"ZADD", "{t}huge"}
			for j := i; j < i+100; j++ {
				args = append(args, fmt.Sprint(j), fmt.Sprintf("member %08d %s", j, strings.Repeat("m", 30)))
			}
			w.do(n, args...)
		}
		slots := []slot.Slot{testSlot, 200, 201, 202}
		tags := []string{tagOf(200), tagOf(201), tagOf(202)}
		for i := range 600 {
			w.want(n, "OK", "SET", fmt.Sprintf("{%s}%d", tags[i%3], i), strings.Repeat("v", 100))
		}
		job := w.startWith(engine.JobOptions{Payload: payload}, 0, 1, slots...)
		waited, changes := false, 0
		added := 0
		for i := 0; !n.job(job).State.Ended(); i++ {
			for k := 0; i < busyFor && k < 4; k++ {
				w.cmd("ZADD", "{t}huge", fmt.Sprint(added%members), fmt.Sprintf("new %06d", added))
				added++
			}
			w.cmd("SET", fmt.Sprintf("{%s}%d", tags[i%3], i%600), fmt.Sprint(i))
			j := n.driver().find(job)
			if now, most := j.memory.inUse(); now > limit || most > limit {
				t.Fatalf("%q: %d bytes are held, %d at most, of %d", payload, now, most, limit)
			}
			waited = waited || len(j.memory.waiting) > 0
			changes = max(changes, j.memory.changes.Used())
			if i > busyFor {
				w.pass(100 * time.Millisecond)
			}
			if w.now > 10*time.Minute {
				t.Fatalf("%q: the job does not end: %+v", payload, n.job(job))
			}
		}
		st := n.job(job)
		if st.State != engine.JobSuccess || st.DigestsEqual != len(slots) || st.Memory != 0 {
			t.Fatalf("%q: %+v\n%s", payload, st, n.logs.String())
		}
		if !waited || st.MemoryMost < limit/3 || changes < limit/8 {
			t.Errorf("%q: slots waited: %v; at most %d bytes, %d of changes, of %d: the bound was not tested", payload, waited, st.MemoryMost, changes, limit)
		}
		if v := w.cmd("ZCARD", "{t}huge"); v.String() != fmt.Sprint(members+added) {
			t.Errorf("%q: %s members, want %d", payload, v.String(), members+added)
		}
		w.close()
	}
}

// TestMemoryOrder: who waits for memory goes on in the order of coming, final rounds before all others; where nothing is held there is room for
// anything; and a limit that is raised lets those go on who wait.
func TestMemoryOrder(t *testing.T) {
	var m memory
	m.setLimit(1600) // 800 for data, 200 more for final rounds
	var went []string
	ask := func(name string, bytes int, urgent bool) bool {
		return m.take(reader{bytes: bytes, urgent: urgent, goOn: func() { went = append(went, name) }})
	}
	if !ask("first", 5000, false) {
		t.Fatal("nothing is held, and a large piece has to wait")
	}
	m.add(-4200) // it was less: 800
	if ask("a", 300, false) || ask("b", 10, false) || !ask("final", 200, true) || ask("final 2", 100, true) {
		t.Fatal("somebody is let in beyond the limit, or a final round waits for less than is kept for it")
	}
	m.add(-200)
	if fmt.Sprint(went) != "[final 2]" {
		t.Fatalf("%q went on", went)
	}
	m.setLimit(3200)
	if fmt.Sprint(went) != "[final 2 a b]" {
		t.Fatalf("%q went on", went)
	}
	if now, most := m.inUse(); now != 800+200-200+100+300+10 || most != 5000 {
		t.Errorf("%d bytes are held, %d at most", now, most)
	}
}
