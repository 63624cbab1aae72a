package sim

import (
	"strconv"
	"strings"

	"godwit/linearize"
)

// sessions checks "sessions": what a client is shown is never older than what had certainly taken effect when it asked, by
// its own acknowledged writes (read your writes), by what it had seen (monotonic reads), or by what others had been told,
// across redirects; and it is nothing that nobody has written. Judged at the moment of each reply that shows a value.
//
// In full: let F be, of the writes to the key that were acknowledged or shown before the read was called, the one that began
// last. A value whose write was acknowledged before F began was overwritten by then; so was absence, if every deletion was
// answered before F began. A text must hold the piece of F unless something may have replaced the text since F began. A
// counter never shows less than it has shown. Each follows from "linearizable" where that can be judged; this one names the
// moment, costs nothing to speak of, and also holds where a key has so many open writes that no search would end.
type sessions struct{ w *world }

// read judges a reply that shows a value, or that there is none.
func (c *sessions) read(d *deed, shown linearize.Reply) {
	a, f := d.a, d.floor
	switch {
	case a.whole() && shown.Kind == linearize.BulkReply:
		w := a.writes.of(shown.Text)
		if w == nil {
			c.violate(d, shown, "which nobody has written there")
		} else if f != nil && w.end < f.begin {
			c.violate(d, shown, "which was overwritten by "+c.who(d, f))
		}
	case shown.Kind == linearize.NilReply:
		if f != nil && !a.mortal() && a.erasers.until() < f.begin {
			c.violate(d, shown, "though nothing has deleted "+c.who(d, f))
		}
	case a.counts.until() >= 0 && a.whollyCounted():
		if n, err := strconv.ParseInt(shown.Text, 10, 64); err != nil || n < d.count {
			c.violate(d, shown, "after "+strconv.FormatInt(d.count, 10))
		}
	case a.appends.until() >= 0 && f != nil && !a.mortal() && a.counts.until() < 0:
		if max(a.erasers.until(), a.setters.until()) < f.begin && !strings.Contains(";"+shown.Text, ";"+f.value) {
			c.violate(d, shown, "which lacks "+c.who(d, f))
		}
	}
}

// whollyCounted reports whether nothing but increments has changed the key.
func (a *account) whollyCounted() bool {
	return max(a.setters.until(), a.appends.until(), a.erasers.until(), a.others.until(), a.timers.until()) < 0
}

// who says which write it is, and what the client has to do with it.
func (c *sessions) who(d *deed, f *write) string {
	by := "another client's write of "
	if f.client == d.client {
		by = "its own write of "
	}
	return by + strconv.Quote(f.value) + " begun at " + f.begin.String()
}

func (c *sessions) violate(d *deed, shown linearize.Reply, why string) {
	c.w.violate("sessions", "client %d, asking at %v, is shown %s by %s %q, %s", d.client, d.call, shown, d.cmd, d.a.name, why)
}
