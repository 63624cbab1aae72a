package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine/slot"
)

// The exit status of godwit verify beside 0 (the copies are equal) and 1 (it could not be found out).
const (
	statusDiffer  = 3 // some key differs, and was not mended
	statusWritten = 4 // some slot was written to or moved all the while, the others are equal
)

// verifyFlags are the flags of godwit verify.
type verifyFlags struct {
	from, to, slots, password string
	stored, repair, force     bool
	kept                      bool
	most                      int
	asJSON                    bool
}

func newVerifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify --slots RANGES --from HOST:PORT --to HOST:PORT",
		Short: "Compare slots of two nodes or two clusters, list the keys that differ, and mend them",
		Long: `Compare what two nodes hold of some slots, key by key, by digests: type, elements, order, scores and expiries. A node that
has no copy does not serve a slot itself is taken for its cluster, and the node asked that serves the slot there. With --kept, what a
named node has given away and keeps (--hold-source) is compared, or mended, instead.

Each slot is compared at one moment: both nodes hold their present while neither is written to. A slot that is written to
at each of several looks is reported as written, and not compared; one that moves meanwhile is looked for again.

With --repair the second node is made to hold what the first one does, key by key: each is deleted and written anew under the lock of its
slot. A slot that the second node serves is refused, since what clients write to these keys meanwhile is overwritten, unless
--force says so. What was mended is compared again.

Exit status: 0 equal (or all mended), 1 it could not be found out, 3 keys differ, 4 slots were being written to or moved, the others are equal.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := interruptible(c.Context())
			defer stop()
			return verify(ctx, c.OutOrStdout(), c.ErrOrStderr(), f)
		},
	}
	c.Flags().StringVar(&f.slots, "slots", "", "the slots to compare, as `RANGES` such as \"0-100 200\"")
	c.Flags().StringVar(&f.from, "from", "", "`HOST:PORT` of the first node, or of any node of the first cluster")
	c.Flags().StringVar(&f.to, "to", "", "`HOST:PORT` of the second node, or of any node of the second cluster")
	c.Flags().StringVar(&f.password, "password", "", "`PASSWORD` of the nodes (their requirepass)")
	c.Flags().BoolVar(&f.stored, "stored", false, "compare the records as they are stored, indexes included: copies that were moved as records are equal in that, too")
	c.Flags().BoolVar(&f.repair, "repair", false, "make the second node hold what the first one does")
	c.Flags().BoolVar(&f.force, "force", false, "repair slots that the second node serves, too")
	c.Flags().BoolVar(&f.kept, "kept", false, "compare, and mend, copies that the named nodes have given away and keep, not those of the nodes that serve the slots")
	c.Flags().IntVar(&f.most, "most", 1000, "list at most this `NUMBER` of keys of a slot")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	for _, name := range []string{"slots", "from", "to"} {
		_ = c.MarkFlagRequired(name) // it exists: defined above
	}
	return c
}

// VerifyReport is what a comparison found, as --json prints it.
type VerifyReport struct {
	Slots       int          `json:"slots"`
	Equal       int          `json:"equal"`
	Items       uint64       `json:"items"` // records and elements compared, of the first side
	Seconds     float64      `json:"seconds"`
	Written     []slot.Slot  `json:"written"` // slots that were written to all the while, and not compared
	Moved       []slot.Slot  `json:"moved"`   // slots that changed hands all the while, and were not compared
	Differences []Difference `json:"differences"`
	More        []slot.Slot  `json:"more"` // slots that differ in more keys than are listed
	Mended      int          `json:"mended"`
}

// verifier compares slots for one call of the command.
type verifier struct {
	verifyFlags
	ctx      context.Context
	conns    map[string]*conn
	report   VerifyReport
	progress *verifyProgress
}

func verify(ctx context.Context, out, progress io.Writer, f verifyFlags) error {
	set, err := slotSet(strings.Join(strings.Fields(strings.ReplaceAll(f.slots, ",", " ")), " "))
	switch {
	case err != nil:
		return fmt.Errorf("--slots: %w", err)
	case set.Len() == 0:
		return errors.New("--slots is empty: want ranges such as \"0-100 200\"")
	case f.stored && f.repair:
		return errors.New("--repair mends keys: without --stored")
	case f.most < 1:
		return errors.New("--most is less than 1")
	}
	v := &verifier{verifyFlags: f, ctx: ctx, conns: map[string]*conn{}, progress: newVerifyProgress(progress, set.Len())}
	defer v.close()
	v.report = VerifyReport{Slots: set.Len(), Written: []slot.Slot{}, Moved: []slot.Slot{}, Differences: []Difference{}, More: []slot.Slot{}}
	began := time.Now()
	err = v.all(set.Slots())
	v.progress.end()
	if err != nil {
		return err
	}
	v.report.Seconds = time.Since(began).Seconds()
	if f.asJSON {
		if err := printJSON(out, v.report); err != nil {
			return err
		}
	} else {
		v.report.print(out)
	}
	return v.report.result()
}

func (v *verifier) close() {
	for _, c := range v.conns {
		c.close()
	}
}

// all compares slots one after another.
func (v *verifier) all(slots []slot.Slot) error {
	from, err := v.holders(v.from, slots)
	if err != nil {
		return err
	}
	to, err := v.holders(v.to, slots)
	if err != nil {
		return err
	}
	for _, sl := range slots {
		if err := v.ctx.Err(); err != nil {
			return errors.New("interrupted")
		}
		p := pair{from[sl], to[sl]}
		if err := v.one(sl, &p); err != nil {
			return err
		}
		v.progress.slotDone()
	}
	return nil
}

// conn is the connection to a node.
func (v *verifier) conn(addr string) (*conn, error) {
	if c := v.conns[addr]; c != nil {
		return c, nil
	}
	c, err := dial(addr, v.password)
	if err == nil {
		v.conns[addr] = c
	}
	return c, err
}

// one compares a slot at a moment, mends it if asked to, and compares what was mended again.
func (v *verifier) one(sl slot.Slot, p *pair) error {
	w, err := v.compare(sl, p)
	if err != nil || w == nil {
		return err
	}
	if len(w.found) > 0 && v.repair {
		if err := w.mend(v.force); err != nil {
			return err
		}
		again, err := v.compare(sl, p)
		if err != nil {
			return err
		}
		w.settle(again)
	}
	v.report.Items += w.items
	if len(w.found) == 0 {
		v.report.Equal++
	}
	for _, d := range w.found {
		if d.Mended {
			v.report.Mended++
		}
	}
	v.report.Differences = append(v.report.Differences, w.found...)
	if w.stopped {
		v.report.More = append(v.report.More, sl)
	}
	return nil
}

// settle takes back that keys were mended that another comparison finds different still.
func (w *verifyWalk) settle(again *verifyWalk) {
	if again == nil {
		return // it is being written to or moved: the keys were written as they were, and nobody can say more
	}
	w.stopped = w.stopped && again.stopped
	for _, d := range again.found {
		i := slices.IndexFunc(w.found, func(o Difference) bool { return o.Key == d.Key })
		if i < 0 {
			w.found = append(w.found, d)
		} else if w.found[i].Mended {
			w.found[i].Mended, w.found[i].Note = false, "it differs again: somebody writes to it"
		}
	}
}

func (r *VerifyReport) print(out io.Writer) {
	for _, d := range r.Differences {
		types := d.From
		if d.To != d.From {
			types = strings.TrimSuffix(strings.TrimPrefix(d.From+", "+d.To, ", "), ", ")
		}
		line := fmt.Sprintf("slot %d  %-9s  %q", d.Slot, d.Kind, d.Key)
		if types != "" {
			line += "  (" + types + ")"
		}
		if d.Mended {
			line += "  mended"
		}
		if d.Note != "" {
			line += "  " + d.Note
		}
		show(out, "%s\n", line)
	}
	for _, sl := range r.More {
		show(out, "slot %d differs in more keys than these: see --most\n", sl)
	}
	for _, sl := range r.Written {
		show(out, "slot %d is being written to and was not compared\n", sl)
	}
	for _, sl := range r.Moved {
		show(out, "slot %d is being moved and was not compared\n", sl)
	}
	show(out, "%d of %d slots are equal, %d keys differ, %d of them were mended; %d records and elements in %.1f s\n",
		r.Equal, r.Slots, len(r.Differences), r.Mended, r.Items, r.Seconds)
}

// result is the error that tells the exit status.
func (r *VerifyReport) result() error {
	switch {
	case len(r.Differences) > r.Mended || len(r.More) > 0:
		return &statusError{statusDiffer, fmt.Errorf("the copies differ in %d keys or more that were not mended", len(r.Differences)-r.Mended)}
	case len(r.Written)+len(r.Moved) > 0:
		return &statusError{statusWritten, fmt.Errorf("%d slots are being written to or moved and were not compared", len(r.Written)+len(r.Moved))}
	}
	return nil
}

// verifyProgress shows how far a comparison is: a bar on a terminal, a line every few seconds elsewhere.
type verifyProgress struct {
	out   io.Writer
	bar   interface{ Add(int) error }
	done  int
	slots int
	items uint64
	at    time.Time
}

func newVerifyProgress(out io.Writer, slots int) *verifyProgress {
	p := &verifyProgress{out: out, slots: slots, at: time.Now()}
	if file, ok := out.(*os.File); ok && isTerminal(file) {
		p.bar = newBar(out, slots, "slots")
	}
	return p
}

func (p *verifyProgress) slotDone() {
	p.done++
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

// add takes in that items were compared.
func (p *verifyProgress) add(items uint64) {
	p.items += items
	if p.bar == nil && time.Since(p.at) > 5*time.Second {
		p.at = time.Now()
		show(p.out, "%d of %d slots, %d records and elements compared\n", p.done, p.slots, p.items)
	}
}

func (p *verifyProgress) end() {
	if p.bar != nil {
		show(p.out, "\n")
	}
}
