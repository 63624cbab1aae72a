package sim

// checkAlarms demands "alarms": no node has raised one.
func (w *world) checkAlarms() {
	for _, p := range w.procs {
		if a := p.node.Alarms(); len(a) > 0 {
			w.violate("alarms", "node %d: %s", p.index, a[0])
		}
	}
}
