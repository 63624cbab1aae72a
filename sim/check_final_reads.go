package sim

import "godwit/engine/resp"

// readAll reads every key once, as a client does: of each slot all that one command reads in one packet, and each key of several types by itself.
func (w *world) readAll() {
	if w.failed != nil {
		return
	}
	type wanted struct {
		slot int
		read errand
	}
	var list []wanted
	for i := range w.keys.slots {
		var reads [][]string
		for _, name := range w.keys.fillers[i] {
			reads = append(reads, wholeRead(typeString, name))
		}
		for j := range w.keys.hot[i] {
			if w.keys.hot[i][j].ops > 0 {
				for g := range w.keys.hot[i][j].generation + 1 {
					single, tx := w.keys.finalReads(i, j, g)
					reads = append(reads, single...)
					if tx != nil {
						list = append(list, wanted{i, errand{argv: tx.words(), tx: tx}})
					}
				}
			}
		}
		list = append(list, wanted{i, errand{argv: reads[0], reads: reads}})
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
				c.run(list[at].slot, list[at].read, func(_ resp.Value, ok bool) {
					if tries++; ok {
						read(at + len(w.clients))
					} else if tries < finalTries {
						once() // the connection was one of before, perhaps
					} else {
						w.violate("final-reads", "client %d cannot read %q, all faults having healed", c.index, list[at].read.argv)
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

// finalReads are what shows all of a hot key of a generation, by the type that it should have. What can be of any type is asked for its type, and
// read as each of them, at one moment.
func (k *keyspace) finalReads(slot, i, generation int) ([][]string, *transaction) {
	h := &k.hot[slot][i]
	names := k.hotNames(slot, i, generation)
	if h.kind == changing || h.kind == groups {
		tx := &transaction{}
		for _, name := range names {
			tx.commands = append(tx.commands, []string{"TYPE", name})
			for t := range keyTypes {
				tx.commands = append(tx.commands, wholeRead(keyType(t), name))
			}
		}
		return nil, tx
	}
	var reads [][]string
	for n, name := range names {
		reads = append(reads, wholeRead(h.types[n], name))
	}
	return reads, nil
}
