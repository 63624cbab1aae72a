package data

import (
	"bytes"
	"encoding/binary"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// Foresight tells for which keys of the store the commands of a group are going to look, before they run, so that the group can
// fetch them. What it does not know, or tells wrong because a command before changes it, costs time only. The zero value is ready, and keeps
// its buffers.
type Foresight struct {
	group         *store.Group
	user          []byte // the key of the collection that was last asked for; it aliases the command's argument
	found         bool   // that collection has the generation
	generation    key.Generation
	keyBuf, value []byte
}

// Begin begins with the commands of a group. None of them has run.
func (f *Foresight) Begin(g *store.Group) { f.group, f.user, f.found = g, nil, false }

// End forgets the group and the arguments of its commands.
func (f *Foresight) End() { f.group, f.user, f.value = nil, nil, keepSmall(f.value) }

// Record is the key of the record of a user key. It stays until the next call.
func (f *Foresight) Record(s slot.Slot, user []byte) []byte {
	f.keyBuf = key.AppendRecord(f.keyBuf[:0], s, user)
	return f.keyBuf
}

// Member is the key of a member of the collection under a user key, which stays until the next call. ok is false if what the store has at
// hand does not say where its elements are.
func (f *Foresight) Member(s slot.Slot, user, member []byte) (k []byte, ok bool) {
	if f.user == nil || !bytes.Equal(f.user, user) {
		f.user, f.found = user, false
		if f.value, ok = f.group.Peek(f.value[:0], f.Record(s, user)); ok {
			r, err := DecodeRecord(f.value)
			f.generation, f.found = r.Generation, err == nil && r.Generation != key.Generation{}
		}
	}
	if !f.found {
		return nil, false
	}
	f.keyBuf = appendMember(f.keyBuf[:0], s, f.generation, member)
	return f.keyBuf, true
}

// appendMember appends the key of a member of a collection.
func appendMember(dst []byte, s slot.Slot, g key.Generation, member []byte) []byte {
	dst = key.AppendElement(dst, s, key.Element, g)
	dst = binary.BigEndian.AppendUint32(dst, key.Hash(member))
	return append(dst, member...)
}
