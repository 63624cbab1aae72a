package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// The *content* of a slot is what its keys are to clients: a list of items, the same for every way in which it came to be and for
// every way in which it is stored. A key's first item says its type, its expiry and how many elements it has, and holds the value of a
// string; the items of its elements follow, in the order of the type. Generations, the places of lists and the indexes of scores and
// expiries are not content. The digest of a span of items is the logical digest: equal for equal content, different for any
// other.
//
// The key of an item begins as that of the record in the store does, so that items lie in the order of the records:
//
//	| offset | size | field                                                                                    |
//	|--------|------|------------------------------------------------------------------------------------------|
//	| 0      | 5    | namespace, slot and kind of records                                                      |
//	| 5      | 4    | hash of the user key, big-endian                                                         |
//	| 9      | n    | user key, each byte 0x00 followed by 0xff                                                |
//	| 9+n    | 2    | 0x00 0x01                                                                                |
//	| 11+n   | rest | nothing: the record; else the element: of a list its index (8, big-endian), of a hash, a  |
//	|        |      | set or a sorted set hash and member as in the store                                      |
//
// The value of an item of a record is type (1), expiry (8, big-endian, 0: none), number of elements (8, big-endian), value of a
// string; that of an element is the element's value, the field's, or the score (8, AppendScore). What cannot be decoded is
// content, too: the byte 0xff and the bytes as they are, so that damage is found where it is.
//
// Spans of items are spans of these keys; their bounds may be any bytes. key.DataSpan covers all items of a slot.

// contentEnd ends the user key in the key of an item, contentAfter is after all items of that user key.
const (
	contentEscape = 0xff
	contentEnd    = 0x01
	contentAfter  = 0x02
	contentDamage = 0xff
)

// AppendContentKey appends the key of the item of a user key's record.
func AppendContentKey(dst []byte, s slot.Slot, user []byte) []byte {
	return appendUser(key.AppendRecordSeek(dst, s, key.Hash(user)), user, contentEnd)
}

func appendUser(dst, user []byte, end byte) []byte {
	for _, b := range user {
		if dst = append(dst, b); b == 0 {
			dst = append(dst, contentEscape)
		}
	}
	return append(dst, 0, end)
}

// ContentSpan is the span of the items of one user key.
func ContentSpan(s slot.Slot, user []byte) key.Span {
	prefix := key.AppendRecordSeek(nil, s, key.Hash(user))
	return key.Span{Lo: appendUser(prefix[:len(prefix):len(prefix)], user, contentEnd), Hi: appendUser(prefix[:len(prefix):len(prefix)], user, contentAfter)}
}

// WholeKeys widens a span of items of a slot so that it cuts no user key in two.
func WholeKeys(s slot.Slot, span key.Span) key.Span {
	return key.Span{Lo: wholeKey(s, span.Lo, contentEnd), Hi: wholeKey(s, span.Hi, contentAfter)}
}

// KeysFrom moves a bound of items that lies within a user key to behind that key.
func KeysFrom(s slot.Slot, bound []byte) []byte { return wholeKey(s, bound, contentAfter) }

// OneKey is the user key of which a span covers all items, if it covers those of one key and nothing else.
func OneKey(s slot.Slot, span key.Span) (user []byte, ok bool) {
	p := parsePlace(s, span.Lo)
	if !p.exact || len(p.element) > 0 {
		return nil, false
	}
	whole := ContentSpan(s, p.user)
	return p.user, bytes.Equal(whole.Lo, span.Lo) && bytes.Equal(whole.Hi, span.Hi)
}

// Index is the place of an element of a list, from 0; other elements have none.
func (i *Item) Index() uint64 {
	if i.Record.Type != List {
		return 0
	}
	index, _ := listIndex(i.Element)
	return index
}

// wholeKey moves a bound that lies within the items of a user key to one of their ends.
func wholeKey(s slot.Slot, bound []byte, end byte) []byte {
	p := parsePlace(s, bound)
	if !p.exact || len(p.element) == 0 {
		return bound
	}
	return appendUser(key.AppendRecordSeek(nil, s, p.hash), p.user, end)
}

// place is where a bound of items lies.
type place struct {
	hash    uint32
	user    []byte
	exact   bool   // the bound lies within the items of user; otherwise before the first record that is not less than hash and user
	element []byte // with exact: within its elements; empty: at its record
}

// parsePlace says where a bound lies. It takes any bytes.
func parsePlace(s slot.Slot, bound []byte) place {
	prefix := key.KindSpan(s, key.Record).Lo
	if bytes.Compare(bound, prefix) < 0 || !bytes.HasPrefix(bound, prefix) {
		return place{} // before the slot's records, or behind them, where the iterator's bound ends it
	}
	rest := bound[len(prefix):]
	var hash [4]byte
	n := copy(hash[:], rest)
	p := place{hash: binary.BigEndian.Uint32(hash[:])}
	for rest = rest[n:]; len(rest) > 0; rest = rest[1:] {
		if rest[0] != 0 {
			p.user = append(p.user, rest[0])
			continue
		}
		switch {
		case len(rest) == 1 || rest[1] == 0: // before what ends user here
			return p
		case rest[1] == contentEnd:
			p.exact, p.element = true, rest[2:]
			return p
		case rest[1] == contentEscape:
			p.user = append(p.user, 0)
			rest = rest[1:]
		default: // behind what ends user here, before every longer key
			p.user = append(p.user, 0)
			return p
		}
	}
	return p
}

// Item is a part of the content of a slot: a user key's record, or one of its elements.
type Item struct {
	User   []byte
	Record Record
	// Element is the place of an element among those of its key, as in the key of its item; empty for the record.
	Element []byte
	// Value is that of the item.
	Value []byte
	// Damage says why the item cannot be decoded, nil if it can. It is an ErrCorrupt.
	Damage error
}

// Member is the member or field that an item of a hash, set or sorted set holds.
func (i *Item) Member() []byte { return i.Element[min(hashLen, len(i.Element)):] }

// Content walks over items of a slot, in the order of their keys. Next goes to the first item, then to the one after; what Key and Item
// return is valid until the next move. Close it. The reader must be a moment (a snapshot), or nobody must write to the slot.
type Content struct {
	r        store.Reader
	slot     slot.Slot
	lo, hi   []byte
	records  *store.Iter
	elements *store.Iter // of the key that the walk is in; nil at its record
	begun    bool
	item     Item
	key      []byte // of the item
	userLen  int    // how much of key is the key of the record's item
	value    []byte
	err      error
}

// NewContent begins a walk over the items of a slot that lie in a span.
func NewContent(r store.Reader, s slot.Slot, span key.Span) (*Content, error) {
	it, err := r.NewIter(key.KindSpan(s, key.Record))
	if err != nil {
		return nil, err
	}
	return &Content{r: r, slot: s, lo: span.Lo, hi: span.Hi, records: it}, nil
}

// Next goes to the next item and reports whether there is one. After an error there is none.
func (c *Content) Next() bool {
	return c.err == nil && c.move() && c.err == nil && bytes.Compare(c.key, c.hi) < 0
}

// Key is the key of the item.
func (c *Content) Key() []byte { return c.key }

// Item is the item.
func (c *Content) Item() *Item { return &c.item }

// Close ends the walk and returns the error that ended it early, if any.
func (c *Content) Close() error {
	c.closeElements()
	if err := c.records.Close(); err != nil && c.err == nil {
		c.err = err
	}
	if c.err != nil {
		return fmt.Errorf("data: read content: %w", c.err)
	}
	return nil
}

func (c *Content) move() bool {
	switch {
	case !c.begun:
		c.begun = true
		return c.begin()
	case c.elements != nil:
		if c.elements.Next() {
			return c.element()
		}
	case c.item.Damage == nil && c.item.Record.Type != String:
		if c.openElements(nil) {
			return c.element()
		}
	}
	return c.nextRecord()
}

// begin goes to the first item that is not before the low bound.
func (c *Content) begin() bool {
	prefix := key.KindSpan(c.slot, key.Record).Lo
	if bytes.Compare(c.lo, prefix) >= 0 && !bytes.HasPrefix(c.lo, prefix) {
		return false
	}
	p := parsePlace(c.slot, c.lo)
	seek := append(key.AppendRecordSeek(nil, c.slot, p.hash), p.user...)
	if !c.records.SeekGE(seek) || !c.record() {
		return false
	}
	if !p.exact || len(p.element) == 0 || !bytes.Equal(c.item.User, p.user) || c.hash() != p.hash {
		return true
	}
	if c.item.Damage == nil && c.item.Record.Type != String && c.openElements(p.element) {
		return c.element()
	}
	return c.nextRecord()
}

func (c *Content) hash() uint32 { return binary.BigEndian.Uint32(c.key[key.PrefixLen:]) }

func (c *Content) nextRecord() bool {
	c.closeElements()
	return c.err == nil && c.records.Next() && c.record()
}

func (c *Content) closeElements() {
	if c.elements == nil {
		return
	}
	if err := c.elements.Close(); err != nil && c.err == nil {
		c.err = err
	}
	c.elements = nil
}

// record makes the record that the iterator is at the item.
func (c *Content) record() bool {
	k := c.records.Key()
	v, err := c.records.ValueAndErr()
	if err != nil {
		c.err = err
		return false
	}
	c.item = Item{}
	hash, user, ok := key.SplitRecord(k[key.PrefixLen:])
	if !ok { // no version writes such a key
		c.err = fmt.Errorf("%w: a record lies under %x", ErrCorrupt, k)
		return false
	}
	c.key = appendUser(key.AppendRecordSeek(c.key[:0], c.slot, hash), user, contentEnd)
	c.userLen = len(c.key)
	c.item.User = user
	r, err := DecodeRecord(v)
	if err != nil {
		c.item.Damage = fmt.Errorf("key %q: %w", user, err)
		c.value = append(append(c.value[:0], contentDamage), v...)
	} else {
		c.item.Record = r
		c.value = append(c.value[:0], byte(r.Type))
		c.value = binary.BigEndian.AppendUint64(c.value, uint64(r.ExpireMs))
		c.value = binary.BigEndian.AppendUint64(c.value, r.Size)
		c.value = append(c.value, r.Value...)
	}
	c.item.Value = c.value
	return true
}

// openElements goes to the first element of the item's key that is not less.
func (c *Content) openElements(from []byte) bool {
	span := key.ElementSpan(c.slot, key.Element, c.item.Record.Generation)
	it, err := c.r.NewIter(span)
	if err != nil {
		c.err = err
		return false
	}
	c.elements = it
	if c.item.Record.Type == List {
		index, ok := listIndex(from)
		if !ok || index >= c.item.Record.Size {
			return false
		}
		from = binary.BigEndian.AppendUint64(nil, c.item.Record.List.Head+index)
	}
	return it.SeekGE(append(span.Lo, from...))
}

// listIndex is the first index that is not less than a bound of any length; ok is false if there is none.
func listIndex(bound []byte) (index uint64, ok bool) {
	var b [positionLen]byte
	copy(b[:], bound)
	index = binary.BigEndian.Uint64(b[:])
	if len(bound) > positionLen {
		index++
		return index, index != 0
	}
	return index, true
}

// element makes the element that the iterator is at the item.
func (c *Content) element() bool {
	el := c.elements.Key()[key.ElementLen:]
	v, err := c.elements.ValueAndErr()
	if err != nil {
		c.err = err
		return false
	}
	c.key, c.item.Damage = c.key[:c.userLen], nil
	switch {
	case c.item.Record.Type == List && len(el) == positionLen:
		c.key = binary.BigEndian.AppendUint64(c.key, binary.BigEndian.Uint64(el)-c.item.Record.List.Head)
		c.value = c.listValue(v)
	default:
		c.key = append(c.key, el...)
		c.value = append(c.value[:0], v...)
		c.item.Damage = c.checkMember(el, v)
	}
	c.item.Element, c.item.Value = c.key[c.userLen:], c.value
	return c.err == nil
}

// checkMember says what is wrong with an element that is no list's.
func (c *Content) checkMember(el, v []byte) error {
	if len(el) < hashLen {
		return fmt.Errorf("%w: an element of %d bytes of the key %q", ErrCorrupt, len(el), c.item.User)
	}
	if c.item.Record.Type == ZSet {
		if _, err := DecodeScore(v); err != nil {
			return fmt.Errorf("key %q: %w", c.item.User, err)
		}
	}
	return nil
}

// listValue is the value of an entry of a list.
func (c *Content) listValue(raw []byte) []byte {
	e, err := decodeEntry(raw)
	if err == nil && !e.apart {
		return append(c.value[:0], e.inline...)
	}
	if err == nil {
		k := append(key.AppendElement(nil, c.slot, listValue, c.item.Record.Generation), e.number...)
		v, found, err := c.r.Append(c.value[:0], k)
		if err != nil {
			c.err = err
			return nil
		}
		if found && key.Hash(v) == e.hash {
			return v
		}
	}
	c.item.Damage = fmt.Errorf("%w: an entry of the list %q", ErrCorrupt, c.item.User)
	return append(append(c.value[:0], contentDamage), raw...)
}

// ReadContent reads items from the low end of a span until a limit is reached: what store.ReadChunk does to records. The digest of the
// chunk is the logical digest of what it covers.
func ReadContent(r store.Reader, s slot.Slot, span key.Span, lim store.ChunkLimits, parts store.ChunkParts) (store.Chunk, error) {
	out := store.Chunk{Covers: span}
	c, err := NewContent(r, s, span)
	if err != nil {
		return out, err
	}
	size, count := 0, 0
	ok := c.Next()
	for ok {
		k, v := c.Key(), c.Item().Value
		if parts&store.WithDigest != 0 {
			out.Digest.Add(k, v)
		}
		if parts&store.WithRecords != 0 {
			out.Records = store.AppendRecord(out.Records, k, v)
		}
		size += len(k) + len(v)
		if count++; size >= lim.Bytes || count >= lim.Records {
			out.Covers.Hi = append(append(make([]byte, 0, len(k)+1), k...), 0)
			ok = c.Next()
			break
		}
		ok = c.Next()
	}
	if out.Bytes, out.Count = size, count; !ok {
		out.Last, out.Covers.Hi = true, span.Hi
	}
	return out, c.Close()
}

// ContentDigest is the logical digest of a slot. It reads all of it.
func ContentDigest(r store.Reader, s slot.Slot) (store.Digest, error) {
	c, err := ReadContent(r, s, key.DataSpan(s), store.ChunkLimits{Bytes: math.MaxInt, Records: math.MaxInt}, store.WithDigest)
	return c.Digest, err
}

// DropKeys deletes the user keys of a slot whose records' items lie in a span, expired ones included.
func (t *Tx) DropKeys(s slot.Slot, span key.Span) {
	if t.err != nil {
		return
	}
	c, err := NewContent(t.Reader(), s, span)
	if err != nil {
		t.fail(err)
		return
	}
	for ok := c.Next(); ok && t.err == nil; ok = c.nextRecord() && bytes.Compare(c.key, c.hi) < 0 {
		switch e := (Entry{Key: bytes.Clone(c.item.User), Slot: s, Found: true, Record: c.item.Record}); {
		case len(c.item.Element) > 0: // the span begins within this key
		case c.item.Damage != nil:
			t.fail(c.item.Damage)
		default:
			t.Remove(&e)
		}
	}
	if err := c.Close(); err != nil {
		t.fail(err)
	}
}

// BeginImport begins a transaction that writes into an indexed batch, which stays the caller's. Its time is 0, so that no key has expired.
func BeginImport(st *store.Store, b *store.Batch) Tx {
	return Tx{st: st, mode: WriteIndexed, batch: b}
}
