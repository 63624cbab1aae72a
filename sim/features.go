package sim

import "slices"

// features are what tells one short run from another: which faults struck at which step of which move, and where moves crashed. A search
// keeps a run for them that covers no new line of code.
type features struct {
	seen map[string]bool // nil: nobody wants them
}

// struck notes a fault of a kind at this moment.
func (f *features) struck(w *world, kind string) {
	if f.seen == nil {
		return
	}
	f.seen[kind] = true
	for _, p := range w.procs {
		for _, sl := range w.keys.slots {
			if step := p.stepOf(sl); step != "" {
				f.seen[kind+" at "+step] = true
			}
		}
	}
}

// list gives the features of a run that is over, sorted.
func (f *features) list(r *Result) []string {
	if f.seen == nil {
		return nil
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
