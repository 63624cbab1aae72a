package data

import (
	"errors"
	"fmt"

	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// Mode says what a transaction may do.
type Mode uint8

const (
	// Read allows no writes. Meeting an expired key makes NeedsWrite true.
	Read Mode = iota
	// Write collects writes in a batch that cannot be read: the handler reads the store as it was before the command.
	Write
	// WriteIndexed collects writes in a batch through which the handler reads its own writes. It costs more, and is for
	// commands that may load a key that they have already written, such as DEL with a key named twice.
	WriteIndexed
)

// ErrKeyTooLong is the Err of a transaction that was asked for a key longer than key.MaxUserKey. The command table
// refuses such keys before a handler runs.
var ErrKeyTooLong = errors.New("data: key too long")

// Tx is one command's view of the store. The zero value must be Reset before use. It may be used again and again, which
// saves its buffers.
type Tx struct {
	st         *store.Store
	group      *store.Group // nil unless the transaction is one of a group
	mode       Mode
	nowMs      int64
	batch      *store.Batch
	visible    *slot.Set
	rand       func() uint64
	needsWrite bool
	expires    int64 // the earliest expiry that was written, NoExpiry if none
	err        error

	own           ownWrites
	wrote         []key.Generation // the collections to whose elements the batch has writes; some may stand here again
	lowLimitBytes int              // in tests, what stands for maxBatchBytes

	keyBuf     []byte // for the key of the record last looked up or written
	elementBuf []byte // for the key of an element
	expiryBuf  []byte // for the key of an expiry index entry
	recordBuf  []byte // for an encoded record
	scratch    []byte // for a value that nobody looks at
	values     []byte // room for values that were read, which stay until the transaction ends
}

// Begin begins a transaction that sees the time as nowMs, unix milliseconds.
func Begin(st *store.Store, mode Mode, nowMs int64) Tx {
	return Tx{st: st, mode: mode, nowMs: nowMs}
}

// Reset begins a transaction in t, which keeps its buffers and its source of random bits. A batch of the transaction before must
// have been committed or discarded. All slots are visible.
func (t *Tx) Reset(st *store.Store, mode Mode, nowMs int64) {
	t.own.reset()
	if cap(t.wrote) > ownListMax {
		t.wrote = nil
	}
	*t = Tx{
		st: st, mode: mode, nowMs: nowMs, rand: t.rand, own: t.own, wrote: t.wrote[:0],
		keyBuf: t.keyBuf, elementBuf: t.elementBuf, expiryBuf: t.expiryBuf, recordBuf: keepSmall(t.recordBuf),
		scratch: keepSmall(t.scratch), values: keepSmall(t.values[:0]),
	}
}

// ResetIn begins a transaction of mode Read or Write that is one of a group: it sees what those before it in the group have
// written. What it has written, Commit adds to the group.
func (t *Tx) ResetIn(g *store.Group, mode Mode, nowMs int64) {
	if mode == WriteIndexed {
		panic("data: a transaction of a group cannot be indexed")
	}
	t.Reset(nil, mode, nowMs)
	t.group = g
}

// SetRand gives the transaction, and those after it, random bits. One that makes a collection needs them.
func (t *Tx) SetRand(rand func() uint64) { t.rand = rand }

// keepBytes is the largest buffer that a transaction keeps for the next one: one huge value should not be paid for by every
// connection ever after.
const keepBytes = 64 << 10

func keepSmall(b []byte) []byte {
	if cap(b) > keepBytes {
		return nil
	}
	return b
}

// Mode is what the transaction may do.
func (t *Tx) Mode() Mode { return t.mode }

// NowMs is the time of the transaction, unix milliseconds.
func (t *Tx) NowMs() int64 { return t.nowMs }

// SetVisible restricts enumerations and flushes to a set of slots, which the transaction reads until its end; nil means all.
func (t *Tx) SetVisible(s *slot.Set) { t.visible = s }

// Visible is what SetVisible set.
func (t *Tx) Visible() *slot.Set { return t.visible }

// Err is the error of the store, if any. See invariant 3.
func (t *Tx) Err() error { return t.err }

// NeedsWrite reports whether a transaction of mode Read met an expired key. See invariant 2.
func (t *Tx) NeedsWrite() bool { return t.needsWrite }

// Expires is the earliest expiry that the transaction has given to a key, NoExpiry if it has given none.
func (t *Tx) Expires() int64 { return t.expires }

// Batch is what the transaction has written, nil if nothing. It stays the transaction's: the caller either commits it and
// forgets the transaction (Reset), or lets Commit do both, or calls Discard.
func (t *Tx) Batch() *store.Batch { return t.batch }

// AddToGroup ends a transaction that was begun by ResetIn: the group takes over what it has written. It reports whether that is
// anything.
func (t *Tx) AddToGroup() (wrote bool) {
	wrote = t.batch != nil && !t.batch.Empty()
	if wrote {
		t.group.Add()
	}
	t.batch = nil
	return wrote
}

// Commit commits what was written, makes it visible, and reports its position; ok is false if nothing was written. It must not
// be called on a transaction of a group.
func (t *Tx) Commit() (p store.Position, ok bool) {
	if t.batch == nil {
		return 0, false
	}
	b := t.batch
	t.batch = nil
	return t.st.Commit(b), true
}

// Discard drops what was written. It must not be called after the batch was committed otherwise than by Commit.
func (t *Tx) Discard() {
	switch {
	case t.batch == nil:
	case t.group != nil:
		t.group.Forget()
	default:
		t.batch.Discard()
	}
	t.batch = nil
}

// fail ends the transaction with an error of the store, keeping the first.
func (t *Tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// Reader is what the transaction reads: the store, with its own writes over it in mode WriteIndexed.
func (t *Tx) Reader() store.Reader {
	if t.group != nil {
		return t.group
	}
	if t.batch != nil && t.batch.Indexed() {
		return t.batch
	}
	return t.st
}

// valuesRoom is how much room for values is made at once.
const valuesRoom = 4 << 10

// get reads the value of a key of the store. It is valid until the transaction ends, and may be changed by who reads it.
func (t *Tx) get(k []byte) (value []byte, found bool, err error) {
	if cap(t.values)-len(t.values) < valuesRoom/8 {
		room := valuesRoom
		if t.values == nil {
			room /= 4 // many connections read little
		}
		t.values = make([]byte, 0, room)
	}
	free := t.values[len(t.values):]
	value, found, err = t.Reader().Append(free, k)
	if n := len(value); n <= cap(free) { // else it was given memory of its own
		t.values = t.values[:len(t.values)+n]
	}
	return value[:len(value):len(value)], found, err
}

// hasRow reports whether there is a key in the store.
func (t *Tx) hasRow(k []byte) (found bool, err error) {
	t.scratch, found, err = t.Reader().Append(t.scratch[:0], k)
	return found, err
}

// writer returns the batch, made at the first write.
func (t *Tx) writer() *store.Batch {
	if t.batch != nil {
		return t.batch
	}
	switch t.mode {
	case Write:
		if t.group != nil {
			t.batch = t.group.Ops()
		} else {
			t.batch = t.st.NewBatch()
		}
	case WriteIndexed:
		t.batch = t.st.NewIndexedBatch()
	case Read:
		panic("data: a write in a transaction of mode Read: the command's flags are wrong")
	}
	return t.batch
}

// Entry is a user key and what a transaction found under it.
type Entry struct {
	Key  []byte
	Slot slot.Slot
	// Found says whether there is a record that is not expired. Without it Record is zero.
	Found bool
	Record
}

// Load looks a key up. An expired record is deleted and not found (invariant 2). The entry aliases user.
func (t *Tx) Load(user []byte) Entry {
	e := Entry{Key: user, Slot: slot.OfKey(user)}
	if t.err != nil {
		return e
	}
	if len(user) > key.MaxUserKey {
		t.fail(fmt.Errorf("%w: %d bytes", ErrKeyTooLong, len(user)))
		return e
	}
	t.keyBuf = key.AppendRecord(t.keyBuf[:0], e.Slot, user)
	raw, found, err := t.get(t.keyBuf)
	if err != nil {
		t.fail(err)
		return e
	}
	if !found {
		return e
	}
	r, err := DecodeRecord(raw)
	if err != nil {
		t.fail(fmt.Errorf("key %q: %w", user, err))
		return e
	}
	if r.Expired(t.nowMs) {
		switch {
		case mutant.On(mutant.ExpiredResurrect):
		case t.mode == Read:
			t.needsWrite = true
		default:
			e.Found, e.Record = true, r
			t.Remove(&e)
		}
		return e
	}
	e.Found, e.Record = true, r
	return e
}

// Put makes r the record of a loaded entry, whatever it was before; the expiry index and the elements of a replaced
// collection follow. A record that is expired already is not written: the key is removed, as with a past PXAT in SET.
func (t *Tx) Put(e *Entry, r Record) {
	if t.err != nil {
		return
	}
	if r.Expired(t.nowMs) {
		t.Remove(e)
		return
	}
	b := t.writer()
	if e.Found {
		if e.ExpireMs != NoExpiry && e.ExpireMs != r.ExpireMs {
			t.dropExpiry(e)
		}
		if e.Type != String && (r.Type != e.Type || r.Generation != e.Generation) {
			t.dropElements(e)
		}
	}
	if r.ExpireMs != NoExpiry && (!e.Found || e.ExpireMs != r.ExpireMs) {
		t.expiryBuf = key.AppendExpiry(t.expiryBuf[:0], e.Slot, r.ExpireMs, e.Key)
		b.Set(t.expiryBuf, nil)
		if t.expires == NoExpiry || r.ExpireMs < t.expires {
			t.expires = r.ExpireMs
		}
	}
	t.keyBuf = key.AppendRecord(t.keyBuf[:0], e.Slot, e.Key)
	t.recordBuf = AppendRecord(t.recordBuf[:0], &r)
	b.Set(t.keyBuf, t.recordBuf)
	e.Found, e.Record = true, r
}

// PutString makes the key of a loaded entry a string.
func (t *Tx) PutString(e *Entry, value []byte, expireMs int64) {
	t.Put(e, Record{Type: String, ExpireMs: expireMs, Value: value})
}

// SetExpiry changes the expiry of a loaded entry that was found, NoExpiry to remove it. A time that is past removes the key.
func (t *Tx) SetExpiry(e *Entry, expireMs int64) {
	r := e.Record
	r.ExpireMs = expireMs
	t.Put(e, r)
}

// Remove deletes the key of a loaded entry and reports whether there was one.
func (t *Tx) Remove(e *Entry) bool {
	if t.err != nil || !e.Found {
		return false
	}
	if e.Type != String {
		t.dropElements(e)
	}
	t.removeRecord(e)
	return true
}

// removeRecord deletes the record of a loaded entry that was found, and leaves its elements.
func (t *Tx) removeRecord(e *Entry) {
	t.keyBuf = key.AppendRecord(t.keyBuf[:0], e.Slot, e.Key)
	t.writer().Delete(t.keyBuf)
	if e.ExpireMs != NoExpiry {
		t.dropExpiry(e)
	}
	e.Found, e.Record = false, Record{}
}

// Delete deletes a key and reports whether there was one.
func (t *Tx) Delete(user []byte) bool {
	e := t.Load(user)
	return t.Remove(&e)
}

// Copy makes the key of dst what the key of src is, value and expiry. Both are loaded, differ, and src was found. It reads and
// writes all of a collection, in one batch: one that is too large for that makes Err an ErrTooLarge.
func (t *Tx) Copy(src, dst *Entry) {
	if src.Type == String {
		t.Put(dst, src.Record)
		return
	}
	r := src.Record
	r.Generation = t.newGeneration()
	t.Put(dst, r)
	t.copyElements(src, dst)
}

// Rename makes the key of dst what the key of src is, and deletes src. Both are loaded, differ, and src was found. Within a
// slot it costs the same for any size, since elements lie under the generation; between slots they are copied.
func (t *Tx) Rename(src, dst *Entry) {
	if src.Type != String && src.Slot != dst.Slot {
		t.Copy(src, dst)
		t.Remove(src)
		return
	}
	t.Put(dst, src.Record)
	if t.err == nil {
		t.removeRecord(src)
	}
}

func (t *Tx) dropExpiry(e *Entry) {
	t.expiryBuf = key.AppendExpiry(t.expiryBuf[:0], e.Slot, e.ExpireMs, e.Key)
	t.writer().Delete(t.expiryBuf)
}
