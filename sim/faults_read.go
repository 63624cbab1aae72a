package sim

import "godwit/engine/slot"

// wrote notes that a command that may write to a slot is about to run: nothing of the slot is durable before its commit is.
func (n *nemesis) wrote(p *process, sl slot.Slot) {
	if n.w.swarm.readCrashes > 0 && p.ready() {
		p.wrote[sl] = p.node.Store().Last() + 1
	}
}

// readBy aims at readers: the power may go soon after a client's command has read a key of which a write is under way and not
// durable. The reply must wait for that; where it does not, the client has seen what nobody has any more. The moment is short, so that
// crashes that are not aimed seldom meet it.
func (n *nemesis) readBy(p *process, args [][]byte) {
	if n.w.swarm.readCrashes == 0 || n.over || !p.ready() || len(args) != 2 || string(args[0]) != "GET" {
		return
	}
	a := n.w.history.ledger.accounts[string(args[1])]
	if a == nil || a.underway == 0 || !p.undurable(a.slot) || !n.dice.chance(n.w.swarm.readCrashes) {
		return
	}
	life := p.life
	n.w.after(n.dice.between(0, n.w.swarm.sync/2), func() {
		if !n.over && p.life == life && p.ready() && p.undurable(a.slot) && n.w.plan.act("crash", "node ", p.index) {
			n.mark(markCrashRead)
			p.crash("after a read of what is not durable")
		}
	})
}

// undurable reports whether something was written to the slot, in this life, that a crash could take away.
func (p *process) undurable(sl slot.Slot) bool {
	at, written := p.wrote[sl]
	return written && at > p.node.Store().Durable()
}
