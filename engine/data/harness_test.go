package data

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/slot"
	"godwit/engine/store"
)

type inlineSyncer struct{}

func (inlineSyncer) Schedule(run func()) { run() }

func openStore(t testing.TB) *store.Store {
	t.Helper()
	return openSized(t, 8<<20, 4<<20)
}

// openSized opens a store with memory for blocks and for a memory table; 0 means what production has.
func openSized(t testing.TB, cacheBytes int64, memTableBytes uint64) *store.Store {
	t.Helper()
	st, err := store.Open(store.Options{
		FS: vfs.NewMem(), Dir: "d", Syncer: inlineSyncer{}, Fatal: func(err error) { panic(err) },
		CacheBytes: cacheBytes, MemTableBytes: memTableBytes,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// begin begins a transaction that has random bits, never the same twice in a process.
func begin(st *store.Store, mode Mode, nowMs int64) Tx {
	tx := Begin(st, mode, nowMs)
	tx.SetRand(testBits.next)
	return tx
}

// bits is a stream of numbers that look random (splitmix64).
type bits struct{ state atomic.Uint64 }

var testBits bits

func (b *bits) next() uint64 {
	z := b.state.Add(0x9e3779b97f4a7c15)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// update runs f in a transaction of a mode, which must not fail, and commits it.
func update(t testing.TB, st *store.Store, mode Mode, nowMs int64, f func(*Tx)) {
	t.Helper()
	tx := begin(st, mode, nowMs)
	f(&tx)
	if err := tx.Err(); err != nil {
		t.Fatal(err)
	}
	tx.Commit()
}

func put(t testing.TB, st *store.Store, user, value string, expireMs int64) {
	t.Helper()
	update(t, st, Write, 1, func(tx *Tx) {
		e := tx.Load([]byte(user))
		tx.PutString(&e, []byte(value), expireMs)
	})
}

// checkAll checks the invariants of all slots of a store.
func checkAll(t testing.TB, st *store.Store, slots ...slot.Slot) {
	t.Helper()
	for _, s := range slots {
		if err := CheckSlot(st, s); err != nil {
			t.Fatal(err)
		}
	}
}
