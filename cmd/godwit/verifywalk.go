package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"godwit/engine"
	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// verifySide is one of two nodes whose copies of slots are compared, each at the moment at which it was opened.
type verifySide interface {
	// chunk, list and export are GODWIT VERIFY CHUNK, LIST and EXPORT. Empty bounds are those of the slot.
	chunk(sl slot.Slot, lo, hi []byte, items int, stored bool) (engine.VerifyChunk, error)
	list(sl slot.Slot, lo, hi []byte, items int) (engine.VerifyList, error)
	export(sl slot.Slot, lo, hi []byte) (engine.VerifyExport, error)
	// repair is GODWIT VERIFY REPAIR.
	repair(sl slot.Slot, lo, hi, commands []byte, force bool) error
}

// Difference is what a comparison found about a key, or about a span of what is stored.
type Difference struct {
	Slot slot.Slot `json:"slot"`
	Key  string    `json:"key"`
	Kind string    `json:"kind"` // missing, extra or different, seen from the first side; stored
	From string    `json:"type_from,omitempty"`
	To   string    `json:"type_to,omitempty"`
	Note string    `json:"note,omitempty"` // what cannot be decoded, or why the key was not mended
	// Mended says that the second side was made to hold what the first one does.
	Mended bool `json:"mended"`

	lo, hi []byte // the span of all items of the key
}

// verifyWalk compares a slot of two sides: digests of chunks of the first side that tile the slot, gaps included; a chunk that differs
// is halved until it is small enough to be listed. A key that was found to differ is not looked at again.
type verifyWalk struct {
	from, to verifySide
	slot     slot.Slot
	stored   bool
	most     int // differences that are listed
	found    []Difference
	items    uint64
	stopped  bool // there are more differences than are listed
	progress func(items uint64)
}

// Sizes of a walk, in items: of the first chunk, and of one that is listed rather than halved.
const (
	verifyChunkItems = 1 << 16
	verifyListItems  = 64
)

// run compares the whole slot.
func (w *verifyWalk) run() error {
	_, err := w.compare(nil, nil, verifyChunkItems)
	return err
}

// compare compares a span in chunks of so many items, and returns up to where: beyond hi if a key that differs reaches beyond.
func (w *verifyWalk) compare(lo, hi []byte, items int) (next []byte, err error) {
	for !w.stopped {
		c, err := w.from.chunk(w.slot, lo, hi, items, w.stored)
		if err != nil {
			return nil, err
		}
		if items == verifyChunkItems {
			w.items += c.Items
			w.progress(c.Items)
		}
		at := lo
		if mutant.On(mutant.VerifyGap) {
			if at, err = w.firstOf(lo, c.Hi); err != nil {
				return nil, err
			}
		}
		d, err := w.to.chunk(w.slot, at, c.Hi, int(c.Items)+1, w.stored)
		if err != nil {
			return nil, err
		}
		lo = c.Hi
		if !d.Last || d.Digest != c.Digest {
			if lo, err = w.narrow(at, c); err != nil {
				return nil, err
			}
		}
		if c.Last || len(hi) > 0 && bytes.Compare(lo, hi) >= 0 {
			return lo, nil
		}
	}
	return lo, nil
}

// firstOf is where the first key of the first side in a span begins: what the mutant verify-gap compares from.
func (w *verifyWalk) firstOf(lo, hi []byte) ([]byte, error) {
	l, err := w.from.list(w.slot, lo, hi, 1)
	if err != nil || len(l.Keys) == 0 || bytes.Compare(l.Keys[0].Lo, lo) < 0 {
		return lo, err
	}
	return l.Keys[0].Lo, nil
}

// narrow looks closer at a chunk that differs, and returns where to go on.
func (w *verifyWalk) narrow(lo []byte, c engine.VerifyChunk) ([]byte, error) {
	switch {
	case w.stored && c.Items > 1, c.Items > verifyListItems:
		return w.compare(lo, c.Hi, int(c.Items/2+c.Items%2))
	case w.stored:
		w.add(Difference{Slot: w.slot, Kind: "stored", Key: fmt.Sprintf("%x to %x", lo, c.Hi)})
		return c.Hi, nil
	}
	return w.compareKeys(lo, c.Hi)
}

func (w *verifyWalk) add(d Difference) {
	if w.stopped = len(w.found) >= w.most; !w.stopped {
		w.found = append(w.found, d)
	}
}

// compareKeys compares the keys of a small span of the first side, of which the second may have many.
func (w *verifyWalk) compareKeys(lo, hi []byte) ([]byte, error) {
	a, err := listAll(w.from, w.slot, lo, hi)
	if err != nil {
		return nil, err
	}
	b, err := listAll(w.to, w.slot, lo, hi)
	if err != nil {
		return nil, err
	}
	next := hi
	for (len(a) > 0 || len(b) > 0) && !w.stopped {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = bytes.Compare(a[0].Lo, b[0].Lo)
		}
		var x, y *engine.VerifyKey
		if order <= 0 {
			x, a = &a[0], a[1:]
		}
		if order >= 0 {
			y, b = &b[0], b[1:]
		}
		if x != nil && y != nil && x.Digest == y.Digest {
			continue
		}
		d := w.difference(x, y, lo)
		w.add(d)
		if bytes.Compare(d.hi, next) > 0 {
			next = d.hi
		}
	}
	return next, nil
}

// difference describes what differs, of a key of which one side may have nothing in a span that begins at lo.
func (w *verifyWalk) difference(x, y *engine.VerifyKey, lo []byte) Difference {
	d := Difference{Slot: w.slot, Kind: "different"}
	one := x
	if x != nil {
		d.From, d.Note = x.Type, x.Damage
	}
	if y != nil {
		one, d.To = y, y.Type
		if d.Note == "" {
			d.Note = y.Damage
		}
	}
	d.Key, d.lo, d.hi = string(one.Key), one.Lo, one.Hi
	if bytes.Compare(lo, one.Lo) > 0 { // the span cuts the key in two, and its record was found equal
		d.From, d.To = one.Type, one.Type
		return d
	}
	switch {
	case y == nil:
		d.Kind = "missing"
	case x == nil:
		d.Kind = "extra"
	}
	return d
}

// listAll lists the keys of a span.
func listAll(side verifySide, sl slot.Slot, lo, hi []byte) ([]engine.VerifyKey, error) {
	var all []engine.VerifyKey
	for {
		l, err := side.list(sl, lo, hi, verifyChunkItems)
		if err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && len(l.Keys) > 0 && bytes.Equal(all[n-1].Key, l.Keys[0].Key) {
			all[n-1].Digest += " " + l.Keys[0].Digest // one part was listed in two
			all[n-1].Items += l.Keys[0].Items
			l.Keys = l.Keys[1:]
		}
		all = append(all, l.Keys...)
		if l.Last {
			return all, nil
		}
		lo = l.Hi
	}
}

// mend makes the second side hold what the first one does, key by key, and notes with each what came of it. Once the node refuses it
// does so for every key of the slot.
func (w *verifyWalk) mend(force bool) error {
	for i := range w.found {
		d := &w.found[i]
		err := w.mendKey(d, force)
		var refused errReply
		switch {
		case err == nil:
			d.Mended = true
		case !errors.As(err, &refused):
			return err
		default:
			for j := range w.found[i:] {
				w.found[i+j].Note = string(refused)
			}
			return nil
		}
	}
	return nil
}

func (w *verifyWalk) mendKey(d *Difference, force bool) error {
	drop := d.hi
	for lo, first := d.lo, true; ; first = false {
		e, err := w.from.export(w.slot, lo, d.hi)
		if err != nil {
			return err
		}
		from := drop // nothing more is deleted: these elements follow those that were sent
		if first {
			from = d.lo
		}
		if err := w.to.repair(w.slot, from, drop, e.Commands, force); err != nil || e.Last {
			return err
		}
		lo = e.Hi
	}
}

// verifyNode is a verifySide over a connection.
type verifyNode struct {
	*conn
	holder
}

func (n verifyNode) open(sl slot.Slot) error {
	got, err := openVerify(n.conn, []slot.Slot{sl})
	if err == nil && (len(got) != 1 || got[0] != n.report) {
		err = errMoved
	}
	return err
}

func (n verifyNode) written() (bool, error) {
	text, err := n.text("GODWIT", "VERIFY", "WRITTEN")
	return text != "", err
}

// verifyExportBytes is how much of a key is exported at once.
const verifyExportBytes = 4 << 20

func (n verifyNode) ask(v any, sub string, sl slot.Slot, lo, hi []byte, more ...string) error {
	args := append([]string{"GODWIT", "VERIFY", sub, strconv.Itoa(int(sl)), string(lo), string(hi)}, more...)
	if err := n.json(v, args...); err != nil {
		return fmt.Errorf("slot %d: %w", sl, err)
	}
	return nil
}

func (n verifyNode) chunk(sl slot.Slot, lo, hi []byte, items int, stored bool) (c engine.VerifyChunk, err error) {
	more := []string{strconv.Itoa(32 << 20), strconv.Itoa(items)}
	if stored {
		more = append(more, "STORED")
	}
	return c, n.ask(&c, "CHUNK", sl, lo, hi, more...)
}

func (n verifyNode) list(sl slot.Slot, lo, hi []byte, items int) (l engine.VerifyList, err error) {
	return l, n.ask(&l, "LIST", sl, lo, hi, strconv.Itoa(items))
}

func (n verifyNode) export(sl slot.Slot, lo, hi []byte) (e engine.VerifyExport, err error) {
	return e, n.ask(&e, "EXPORT", sl, lo, hi, strconv.Itoa(verifyExportBytes))
}

func (n verifyNode) repair(sl slot.Slot, lo, hi, commands []byte, force bool) error {
	args := []string{"GODWIT", "VERIFY", "REPAIR", strconv.Itoa(int(sl)), string(lo), string(hi), string(commands)}
	if force {
		args = append(args, "FORCE")
	}
	_, err := n.text(args...)
	return err
}
