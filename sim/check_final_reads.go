package sim

import "godwit/engine/resp"

// readAll reads every key once, as a client does.
func (w *world) readAll() {
	if w.failed != nil {
		return
	}
	type wanted struct {
		slot int
		name string
	}
	var list []wanted
	for i := range w.keys.slots {
		for j := range w.swarm.filler + 4 {
			list = append(list, wanted{i, w.keys.fillerKey(i, j)})
		}
		for j, h := range w.keys.hot[i] {
			if h.ops > 0 {
				for g := range h.generation + 1 {
					for _, name := range w.keys.hotNames(i, j, g) {
						list = append(list, wanted{i, name})
					}
				}
			}
		}
	}
	left := len(w.clients)
	for n, c := range w.clients {
		var read func(at int)
		read = func(at int) {
			if at >= len(list) {
				left--
				return
			}
			tries := 0
			var once func()
			once = func() {
				c.do(list[at].slot, []string{"GET", list[at].name}, func(_ resp.Value, ok bool) {
					if tries++; ok {
						read(at + len(w.clients))
					} else if tries < finalTries {
						once() // the connection was one of before, perhaps
					} else {
						w.violate("final-reads", "client %d cannot read %s, all faults having healed", c.index, list[at].name)
					}
				})
			}
			once()
		}
		read(n)
	}
	w.runUntil(w.now+settleTime, func() bool { return left == 0 })
	if w.failed == nil && left > 0 {
		w.violate("final-reads", "%d clients have not read everything after %v", left, settleTime)
	}
}
