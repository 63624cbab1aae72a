package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// verification is a moment of the node that a session reads slots of, to compare them with those of another node. It ends with
// the session, at the next OPEN, or after verifyKept: an open snapshot keeps old versions on disk.
type verification struct {
	snap  *store.Snapshot
	slots slot.Set
	whole slot.Set // those of which the node has a copy in the snapshot
	// writes is the position of the latest write of each slot before the snapshot was opened.
	writes map[slot.Slot]store.Position
	timer  env.Timer
}

// Limits of verifications: how long one is kept, and how much one request reads.
const (
	verifyKept     = time.Hour
	maxVerifyBytes = 64 << 20
	maxVerifyItems = 1 << 20
)

// VerifySlot is a slot of a verification, as GODWIT VERIFY OPEN answers them in JSON.
type VerifySlot struct {
	Slot  slot.Slot     `json:"slot"`
	State string        `json:"state"` // of its ownership record
	Epoch cluster.Epoch `json:"epoch"`
	Data  bool          `json:"data"` // the node has a copy of the slot that is whole: served, or given away and kept
}

// VerifyChunk is what GODWIT VERIFY CHUNK answers, in JSON. Byte strings are in base64 there.
type VerifyChunk struct {
	Hi     []byte `json:"hi"`     // up to where the chunk speaks, gaps included
	Digest string `json:"digest"` // over its items, or records with STORED
	Items  uint64 `json:"items"`
	Last   bool   `json:"last"` // nothing of the span is left beyond hi
}

// VerifyList is what GODWIT VERIFY LIST answers, in JSON.
type VerifyList struct {
	Keys []VerifyKey `json:"keys"`
	Hi   []byte      `json:"hi"`
	Last bool        `json:"last"`
}

// VerifyKey is a user key, or the part of it that lies in the span asked for.
type VerifyKey struct {
	Key    []byte `json:"key"`
	Type   string `json:"type"`
	Digest string `json:"digest"` // of the part
	Items  uint64 `json:"items"`
	Lo     []byte `json:"lo"` // the span of all the key's items
	Hi     []byte `json:"hi"`
	Damage string `json:"damage,omitempty"` // what cannot be decoded
}

// VerifyExport is what GODWIT VERIFY EXPORT answers, in JSON.
type VerifyExport struct {
	Commands []byte `json:"commands"` // as command.Export tells them
	Hi       []byte `json:"hi"`
	Last     bool   `json:"last"`
}

// verifyHelp is the answer to GODWIT VERIFY HELP.
var verifyHelp = []string{
	"GODWIT VERIFY <subcommand> [<arg> ...]. Compares slots of two nodes, each at a moment; godwit verify does it. Subcommands are:",
	"OPEN <ranges>",
	"    Hold the present of these slots for this connection, for an hour at most; answers their states as JSON.",
	"    Of a slot of which the node has no copy then (data is false) nothing can be asked.",
	"CHUNK <slot> <lo> <hi> <bytes> <items> [STORED]",
	"    The digest of the first items of a span, as JSON. Empty bounds are those of the slot.",
	"    STORED: of the records as they are stored.",
	"LIST <slot> <lo> <hi> <items>",
	"    The keys whose items lie in a span, with the digest of these items, as JSON.",
	"EXPORT <slot> <lo> <hi> <bytes>",
	"    Items of a span as commands that make the same, as JSON.",
	"WRITTEN",
	"    Those of the slots that were written to since OPEN, as ranges.",
	"CLOSE",
	"    Let go of what OPEN holds.",
	"REPAIR <slot> <lo> <hi> <commands> [FORCE]",
	"    Delete the keys of a span at present, and carry out exported commands, at once. A slot that is served is refused without",
	"    FORCE, one that is arriving, being handed over, or from which MIGRATE is sending keys always.",
	"HELP",
	"    This text.",
}

// runDigest answers GODWIT DIGEST slot [STORED]: the digest of all of a slot at this moment, logical or of its records.
func (s *Session) runDigest(args [][]byte) {
	sl, err := verifySlot(args[0])
	stored := len(args) == 2 && strings.EqualFold(string(args[1]), "stored")
	if err != nil || len(args) > 2 || len(args) == 2 && !stored {
		s.out.Error(errDigest)
		return
	}
	snap := s.n.store.NewSnapshot()
	defer snap.Close()
	c, err := readVerify(snap, sl, key.DataSpan(sl), store.ChunkLimits{Bytes: 1 << 62, Records: 1 << 62}, stored)
	if err != nil {
		s.verifyFailed(err)
		return
	}
	s.out.BulkString(c.Digest.String())
}

func readVerify(r store.Reader, sl slot.Slot, span key.Span, lim store.ChunkLimits, stored bool) (store.Chunk, error) {
	if stored {
		return store.ReadChunk(r, span, lim, store.WithDigest)
	}
	return data.ReadContent(r, sl, span, lim, store.WithDigest)
}

// verifyFailed answers that the store could not be read.
func (s *Session) verifyFailed(err error) {
	s.n.opts.Log.Error("reading a slot for a comparison failed", "error", err)
	s.out.Error("ERR " + err.Error())
}

// runVerify runs the subcommands of GODWIT VERIFY. See verifyHelp.
func (s *Session) runVerify(args [][]byte) {
	sub, args := strings.ToLower(string(args[0])), args[1:]
	switch {
	case sub == "open" && len(args) == 1:
		s.openVerify(string(args[0]))
	case sub == "close" && len(args) == 0:
		s.endVerify()
		s.out.OK()
	case sub == "help" && len(args) == 0:
		s.out.Array(len(verifyHelp))
		for _, line := range verifyHelp {
			s.out.Simple(line)
		}
	case sub == "repair" && (len(args) == 4 || len(args) == 5 && strings.EqualFold(string(args[4]), "force")):
		s.repair(args[:4], len(args) == 5)
	case s.verify == nil && (sub == "written" || sub == "chunk" || sub == "list" || sub == "export"):
		s.out.Error(errVerifyClosed)
	case sub == "written" && len(args) == 0:
		s.out.BulkString(s.n.writtenSince(s.verify).String())
	case sub == "chunk" && (len(args) == 5 || len(args) == 6 && strings.EqualFold(string(args[5]), "stored")):
		s.verifyChunk(args[:5], len(args) == 6)
	case sub == "list" && len(args) == 4:
		s.verifyList(args)
	case sub == "export" && len(args) == 4:
		s.verifyExport(args)
	default:
		s.out.Error(errVerify)
	}
}

// openVerify holds the present of slots. Positions are read before the snapshot is opened: a write between the two is in the snapshot
// and counts as one after it. Records are looked at before and after: a slot whose record is not the same then may have lost its data, or
// begun to receive some, on either side of the snapshot, and counts as one of which there is no copy.
func (s *Session) openVerify(text string) {
	ranges, err := slot.ParseRanges(text)
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.endVerify()
	n := s.n
	v := &verification{slots: slot.SetOf(ranges...), writes: map[slot.Slot]store.Position{}}
	reports := []VerifySlot{}
	for _, sl := range v.slots.Slots() {
		n.Exclusive(sl, func(o *Owned) {
			v.writes[sl] = o.LastWrite()
			r := o.Record()
			reports = append(reports, VerifySlot{sl, r.State.String(), r.Epoch, hasCopy(r)})
		})
	}
	v.snap = n.store.NewSnapshot()
	for i := range reports {
		r := &reports[i]
		n.Exclusive(r.Slot, func(o *Owned) { r.Data = r.Data && r.sameRecord(o.Record()) })
		if r.Data {
			v.whole.Add(r.Slot)
		}
	}
	v.timer = n.opts.Clock.AfterFunc(verifyKept, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.verify == v {
			s.endVerify()
		}
	})
	s.verify = v
	s.writeJSON(reports)
}

// hasCopy reports whether a node with this record has a copy of the slot that is whole.
func hasCopy(r cluster.Record) bool {
	return r.State == cluster.Serving || r.State == cluster.Released && !r.DataGone
}

// sameRecord reports whether a record still says what was reported of the slot.
func (v *VerifySlot) sameRecord(r cluster.Record) bool {
	return v.State == r.State.String() && v.Epoch == r.Epoch && v.Data == hasCopy(r)
}

// endVerify lets go of what OPEN holds. s.mu is held.
func (s *Session) endVerify() {
	if v := s.verify; v != nil {
		s.verify = nil
		v.timer.Stop()
		v.snap.Close()
	}
}

// writtenSince lists the slots of a verification that were written to since it was opened, or whose record changed.
func (n *Node) writtenSince(v *verification) *slot.Set {
	var out slot.Set
	for _, sl := range v.slots.Slots() {
		n.Exclusive(sl, func(o *Owned) {
			if o.LastWrite() != v.writes[sl] {
				out.Add(sl)
			}
		})
	}
	return &out
}

func verifySlot(arg []byte) (slot.Slot, error) {
	n, err := strconv.ParseUint(string(arg), 10, 16)
	if err != nil || !slot.Slot(n).Valid() {
		return 0, fmt.Errorf("%q is no slot", arg)
	}
	return slot.Slot(n), nil
}

// verifySpan reads slot, low and high end of a span within the slot.
func verifySpan(args [][]byte) (sl slot.Slot, span key.Span, ok bool) {
	sl, err := verifySlot(args[0])
	if err != nil {
		return 0, key.Span{}, false
	}
	span = key.DataSpan(sl)
	whole := span
	if len(args[1]) > 0 {
		span.Lo = args[1]
	}
	if len(args[2]) > 0 {
		span.Hi = args[2]
	}
	return sl, span, whole.Covers(span)
}

// verifyLimit reads a limit, from 1 to most.
func verifyLimit(arg []byte, most int) (int, bool) {
	n, err := strconv.Atoi(string(arg))
	return n, err == nil && n >= 1 && n <= most
}

// verifying reads slot and span of a request for what OPEN holds, or answers an error.
func (s *Session) verifying(args [][]byte) (sl slot.Slot, span key.Span, ok bool) {
	sl, span, ok = verifySpan(args)
	if !ok || !s.verify.slots.Has(sl) {
		s.out.Error(errVerifySpan)
		return 0, key.Span{}, false
	}
	if !s.verify.whole.Has(sl) {
		s.out.Error(errVerifyNoData) // an empty answer would pass for an empty slot
		return 0, key.Span{}, false
	}
	return sl, span, true
}

func (s *Session) verifyChunk(args [][]byte, stored bool) {
	sl, span, ok := s.verifying(args)
	if !ok {
		return
	}
	size, ok1 := verifyLimit(args[3], maxVerifyBytes)
	items, ok2 := verifyLimit(args[4], maxVerifyItems)
	if !ok1 || !ok2 {
		s.out.Error(errVerifyLimit)
		return
	}
	c, err := readVerify(s.verify.snap, sl, span, store.ChunkLimits{Bytes: size, Records: items}, stored)
	if err != nil {
		s.verifyFailed(err)
		return
	}
	s.writeJSON(VerifyChunk{Hi: c.Covers.Hi, Digest: c.Digest.String(), Items: c.Digest.Records, Last: c.Last})
}

func (s *Session) verifyList(args [][]byte) {
	sl, span, ok := s.verifying(args)
	if !ok {
		return
	}
	items, ok := verifyLimit(args[3], maxVerifyItems)
	if !ok {
		s.out.Error(errVerifyLimit)
		return
	}
	out, err := listKeys(s.verify.snap, sl, span, items)
	if err != nil {
		s.verifyFailed(err)
		return
	}
	s.writeJSON(out)
}

// listKeys lists the keys of which there are items in a span, reading so many items.
func listKeys(r store.Reader, sl slot.Slot, span key.Span, items int) (VerifyList, error) {
	out := VerifyList{Keys: []VerifyKey{}, Hi: span.Hi, Last: true}
	c, err := data.NewContent(r, sl, span)
	if err != nil {
		return out, err
	}
	var digest store.Digest
	end := func() {
		if n := len(out.Keys); n > 0 {
			out.Keys[n-1].Digest, out.Keys[n-1].Items = digest.String(), digest.Records
		}
		digest = store.Digest{}
	}
	for c.Next() {
		if items--; items < 0 {
			out.Hi, out.Last = append([]byte(nil), c.Key()...), false
			break
		}
		i := c.Item()
		if n := len(out.Keys); n == 0 || string(out.Keys[n-1].Key) != string(i.User) {
			end()
			all := data.ContentSpan(sl, i.User)
			out.Keys = append(out.Keys, VerifyKey{Key: append([]byte(nil), i.User...), Type: i.Record.Type.String(), Lo: all.Lo, Hi: all.Hi})
		}
		if i.Damage != nil {
			out.Keys[len(out.Keys)-1].Damage = i.Damage.Error()
		}
		digest.Add(c.Key(), i.Value)
	}
	end()
	return out, c.Close()
}

func (s *Session) verifyExport(args [][]byte) {
	sl, span, ok := s.verifying(args)
	if !ok {
		return
	}
	size, ok := verifyLimit(args[3], maxVerifyBytes)
	if !ok {
		s.out.Error(errVerifyLimit)
		return
	}
	e, err := command.Export(s.verify.snap, sl, span, store.ChunkLimits{Bytes: size, Records: maxVerifyItems})
	if err != nil {
		s.verifyFailed(err)
		return
	}
	s.writeJSON(VerifyExport{Commands: e.Commands, Hi: e.Covers.Hi, Last: e.Last})
}

// repair makes the keys of a span what exported commands say, in one batch under the slot's lock. It is a write like any other to those
// who watch the keys or wait for them, and to a move of the slot.
func (s *Session) repair(args [][]byte, force bool) {
	n := s.n
	sl, span, ok := verifySpan(args)
	if !ok {
		s.out.Error(errVerifySpan)
		return
	}
	if err := command.CheckExport(sl, args[3]); err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	var at store.Position
	refused := ""
	n.Exclusive(sl, func(o *Owned) {
		if refused = o.refusesRepair(force); refused != "" {
			return
		}
		b := n.store.NewIndexedBatch()
		expires, err := o.Import(b, span, args[3])
		if err != nil {
			b.Discard()
			refused = "ERR nothing was changed: " + err.Error()
			return
		}
		if expires != data.NoExpiry {
			n.addExpiring(sl, expires)
		}
		n.tell(b)
		at = o.Write(b)
	})
	if refused != "" {
		s.out.Error(refused)
		return
	}
	s.dependAlways(at)
	s.out.OK()
}

// refusesRepair says why a slot's copy must not be mended now, or "".
func (o *Owned) refusesRepair(force bool) string {
	switch r := o.Record(); {
	case o.Paused():
		return errRepairPaused
	case o.Sending(): // what was sent would be deleted as what it was, and be elsewhere without the repair
		return errRepairSending
	case r.State == cluster.Serving && !force:
		return errRepairServed
	case hasCopy(r):
		return ""
	case r.State == cluster.Importing || r.State == cluster.Prepared:
		return errRepairArriving
	default:
		return errRepairNothing
	}
}
