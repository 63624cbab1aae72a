package driver

import (
	"bytes"
	"fmt"
	"testing"

	"godwit/engine"
	"godwit/engine/key"
	"godwit/engine/store"
	"godwit/migration"
)

// asTables makes the target build tables of all messages of the base.
func asTables() Config {
	cfg := quick()
	cfg.IngestBytes = 1
	return cfg
}

// TestReadBackWhileItArrives requires that the target has read half of a quiet slot when its walk begins, in the tiles that the source has cut, and that
// it reads nothing so of a slot that is written, or when its own automatic limit decides what it may do.
func TestReadBackWhileItArrives(t *testing.T) {
	for name, c := range map[string]struct { //det:ok each is a test of its own
		writes, auto bool
	}{"quiet": {}, "written": {writes: true}, "automatic limit": {auto: true}} {
		t.Run(name, func(t *testing.T) {
			cfg := asTables()
			w, m, job := heldJobWith(t, cfg)
			source, target := w.nodes[0], w.nodes[1]
			if c.auto {
				limit, err := migration.ParseLimit("auto=50%")
				if err != nil {
					t.Fatal(err)
				}
				target.driver().pacer.node.limit = limit
			}
			w.until("the base is sent", func() bool { return source.roundOf() == migration.RoundBase })
			if c.writes {
				for i := range 20 {
					m.set(w, i*7, fmt.Sprint("written ", i))
				}
			}
			w.until("the slot is verified", func() bool { return source.roundOf() == migration.RoundVerify })
			at, s := target.driver().targetOf(testSlot), &source.driver().sources[testSlot].stream
			read := 0
			for _, have := range at.proven.all {
				if have.unread {
					continue
				}
				read++
				if i := s.tiles.find(have.span.Lo); i == len(s.tiles.all) || !bytes.Equal(s.tiles.all[i].span.Hi, have.span.Hi) || s.tiles.all[i].digest != have.digest {
					t.Errorf("the target has read %q to %q, which is no tile of the source", have.span.Lo, have.span.Hi)
				}
			}
			if quiet := !c.writes && !c.auto; quiet && read < len(s.tiles.all)/2 || !quiet && read > 0 {
				t.Errorf("the target has read %d of %d tiles when the walk begins", read, len(s.tiles.all))
			}
			w.until("the slot is held", func() bool { return source.stepOf(testSlot) == migration.StepHolding })
			w.tell(source, job, engine.VerbCutOver, true, "1 slots")
			checkMoved(w, source, target, m, w.ended(source, job))
		})
	}
}

// TestReadBackOfAnEarlierBase requires that what was read of a base says nothing of the next one, whose tiles lie in the same places.
func TestReadBackOfAnEarlierBase(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, asTables())
	d := w.nodes[1].driver()
	at := d.targetOf(testSlot)
	k, later := numbered(testSlot, 1), numbered(testSlot, 2)
	lim := store.ChunkLimits{Bytes: 1, Records: 1}
	base := func() tile {
		at.back.begin(key.DataSpan(testSlot).Lo)
		at.proven = tiles{}
		at.back.came(k, cutTiles(store.AppendRecord(nil, k, []byte("value")), lim), true, lim)
		ready := at.back.came(later, cutTiles(store.AppendRecord(nil, later, []byte("value")), lim), true, lim)
		if len(ready) != 1 {
			t.Fatalf("%d tiles are ready, want the first", len(ready))
		}
		ready[0].unread = true
		at.proven.put(ready[0])
		return ready[0]
	}
	old := base()
	of := at.back.generation
	at.wasReadBack(of, old.span, store.Digest{Lo: 1, Records: 1})
	if d, ok := at.proven.known(old.span); !ok || d.Lo != 1 {
		t.Fatalf("what was read is %v, known %v", d, ok)
	}
	same := base()
	if !bytes.Equal(same.span.Lo, old.span.Lo) || !bytes.Equal(same.span.Hi, old.span.Hi) {
		t.Fatal("the tiles of the second base lie elsewhere")
	}
	at.wasReadBack(of, old.span, store.Digest{Lo: 1, Records: 1})
	if _, ok := at.proven.known(same.span); ok {
		t.Error("what was read of the first base counts for the second")
	}
	at.wasReadBack(at.back.generation, same.span, store.Digest{Lo: 2, Records: 1})
	if d, ok := at.proven.known(same.span); !ok || d.Lo != 2 {
		t.Errorf("what was read of the second base is %v, known %v", d, ok)
	}
}
