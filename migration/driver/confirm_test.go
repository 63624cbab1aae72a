package driver

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"godwit/engine"
	"godwit/migration"
)

// TestConfirmReadFails lets the source's disk fail while the copies are compared: it is tried again at the pace of what is repeated, and once it can be
// read the comparison comes to its end.
func TestConfirmReadFails(t *testing.T) {
	w, m := newWorld(t, 5), shadow{}
	w.inOrder = true
	w.born(2, quick())
	source := w.nodes[0]
	failing := false
	source.life++
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	source.opts.FS = errorfs.Wrap(source.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing && strings.HasSuffix(op.Path, ".sst") && op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return errors.New("the disk fails")
		}
		return nil
	}))
	opened, err := engine.Open(source.opts)
	if err != nil {
		t.Fatal(err)
	}
	source.Node = opened
	w.until("the source serves", func() bool { s := source.Serving(); return s.Has(testSlot) })
	random := rand.NewChaCha8([32]byte{})
	value := make([]byte, 16<<10) // more than the caches have, all together
	for i := range 300 {
		_, _ = random.Read(value)
		m.set(w, i, string(value))
	}
	source.Store().Flush()
	job := w.start(0, 1, testSlot)
	w.until("the copies are compared", func() bool { return source.stepOf(testSlot) == migration.StepConfirming })
	failing = true
	const tell = "reading a copy that the target has taken over failed"
	pause, steps := source.driver().cfg.Source.RetryMax, 0
	for end := w.now + 20*pause; w.now < end && steps < 50_000; steps++ {
		w.step(end)
	}
	if n := strings.Count(source.logs.String(), tell); n == 0 || n > 2*20+2*confirmReaders {
		t.Errorf("within %d pauses of %v, %d steps, it was tried %d times", 20, pause, steps, n)
	}
	failing = false
	if st := w.ended(source, job); st.DigestsEqual != 1 {
		t.Errorf("%+v", st)
	}
}
