package driver

import (
	"testing"
	"time"

	"godwit/engine/cluster"
)

// kvrocks is what the node's driver keeps of the Kvrocks.
func (w *twoSystems) kvrocks() (*Driver, *kvrocks) {
	d := w.source().Node().Migrator().(*Driver)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d, d.kvrocksOf(cluster.NodeID(kvrocksID))
}

// TestKvrocksLockOrder asks how a job stands, which looks at the turns of a Kvrocks under Driver.mu, beside steps of an import that waits.
func TestKvrocksLockOrder(t *testing.T) {
	w := newTwoSystems(t, nil)
	d, k := w.kvrocks()
	stepped, asked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stepped)
		i, one := &kvrocksImport{}, make(chan struct{})
		for range 20_000 {
			k.locked(i, func() { one <- struct{}{} })
			<-one
		}
	}()
	go func() {
		defer close(asked)
		for {
			select {
			case <-stepped:
				return
			default:
			}
			d.mu.Lock()
			k.waiting(kvSlot)
			d.mu.Unlock()
		}
	}()
	for _, done := range []chan struct{}{stepped, asked} {
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("the driver and its Kvrocks wait for each other")
		}
	}
}
