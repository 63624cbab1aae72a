package driver

import (
	"testing"

	"godwit/engine"
	"godwit/engine/slot"
)

// A job is cancelled while a worker is still making the machine of its first slot: the cancel waits for the machine.
func TestCancelWhileASlotBegins(t *testing.T) {
	w := newWorld(t, 1)
	w.inOrder = true
	w.born(2, quick())
	n := w.nodes[0]
	d := n.driver()
	job, err := d.Start([]slot.Range{{First: testSlot, Last: testSlot}}, id(1), engine.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hold, held, begun := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go n.Exclusive(testSlot, func(*engine.Owned) { close(held); <-hold })
	<-held
	go func() {
		d.pumpJobs()
		close(begun)
	}()
	for published := false; !published; {
		d.mu.Lock()
		published = d.sources[testSlot] != nil
		d.mu.Unlock()
	}
	if _, err := d.Tell(job.Counter, engine.VerbCancel, nil); err != nil {
		t.Fatal(err)
	}
	close(hold)
	<-begun
	if st := w.ended(n, job.Counter); st.State != engine.JobFail || st.Moved.Len() != 0 {
		t.Errorf("the cancelled job ended as %+v", st)
	}
}
