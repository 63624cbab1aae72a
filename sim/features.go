package sim

import "slices"

// features are what tells one short run from another: which faults struck at which step of which move, and where moves crashed. A search
// keeps a run for them that covers no new line of code.
type features struct {
	seen map[string]bool // nil: nobody wants them
	// fresh are the kinds of faults that have struck since the steps were looked at.
	fresh []string
}

// struck notes that a fault of a kind has struck. The steps of the moves are looked at later: a fault can strike a node in the middle of an
// event, whose migrator holds the lock then under which it would tell.
func (f *features) struck(kind string) {
	if f.seen != nil && !slices.Contains(f.fresh, kind) {
		f.fresh = append(f.fresh, kind)
	}
}

// look notes at which steps the latest faults have struck. It is called when no node is in the middle of an event, but before a machine that
// has crashed in one has forgotten its moves.
func (f *features) look(w *world) {
	if len(f.fresh) == 0 {
		return
	}
	var steps []string
	for _, p := range w.procs {
		for _, sl := range w.keys.slots {
			if step := p.stepOf(sl); step != "" && !slices.Contains(steps, step) {
				steps = append(steps, step)
			}
		}
	}
	for _, kind := range f.fresh {
		f.seen[kind] = true
		for _, step := range steps {
			f.seen[kind+" at "+step] = true
		}
	}
	f.fresh = f.fresh[:0]
}

// list gives the features of a run that is over, sorted.
func (f *features) list(r *Result) []string {
	if f.seen == nil {
		return nil
	}
	for _, kind := range f.fresh {
		f.seen[kind] = true
	}
	for _, h := range r.Hits {
		f.seen["crash of "+h.Role+" at "+h.Step] = true
	}
	if r.BusyCutovers > 0 {
		f.seen["cutover under writes"] = true
	}
	var out []string
	for name := range f.seen { //det:ok sorted below
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
