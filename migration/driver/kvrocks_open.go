package driver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// The way to a live link, one step after the answer to the one before; kvrocks.mu is held in each.
//
//	open ─▶ fence ─▶ look ─▶ probe ─▶ IMPORT 0 ─▶ live
//	          ▲ │      │ ▲      │          └─ of a commit: copy ─▶ compare ─▶ IMPORT 1
//	          └─┘      │ └┘     └─ it serves the slot: refused, or left to operators
//	                   └─ of a commit: it serves what it was told to ─▶ committed

// open connects, says who is there, and makes sure that it is the node that is meant.
func (k *kvrocks) open(i *kvrocksImport) {
	peer, ok := k.d.node.Peer(k.id)
	if !ok || k.d.env.Servers == nil {
		k.lost(i, fmt.Errorf("node %s is not in the cluster map", k.id))
		return
	}
	i.conn = k.d.env.Servers.Open(peer.Addr)
	login := k.d.login()
	commands := append(login, words("CLIENT", "SETNAME", linkName(i.m.Slot)), words("INFO", "server"), words("CLUSTERX", "MYID"))
	k.ask(i, nil, commands, smallReply, func(v []resp.Value) {
		v = v[len(login):] // what AUTH says of a password that is not asked for does no harm
		switch {
		case v[0].Kind == resp.ErrorKind:
			k.lost(i, fmt.Errorf("%s answers CLIENT SETNAME with %q", peer.Addr, v[0].Str))
		case !engine.IsKvrocks(v[1].Str):
			k.lost(i, fmt.Errorf("%s is no Kvrocks any more", peer.Addr))
		case v[2].Str != string(k.id):
			k.refuse(i, fmt.Sprintf("at %s answers node %q, not %s", peer.Addr, v[2].Str, k.id))
		default:
			k.fence(i)
		}
	})
}

// linkName is how connections are called that bring a slot. Whoever serves the slot brings it: every other of that name is of the past.
func linkName(sl slot.Slot) string { return fmt.Sprintf("godwit-slot-%d", sl) }

// refuse ends an import that is of no use: a start gives the slot up, a commit is said again.
func (k *kvrocks) refuse(i *kvrocksImport, why string) {
	if i.settles() {
		k.lost(i, errors.New(why))
		return
	}
	k.reply(i.kvrocksTurn, migration.Reply{Kind: migration.ReplyRefused, Text: why})
	k.finish(i)
}

// fence ends earlier links of the slot, and goes on when they are gone.
func (k *kvrocks) fence(i *kvrocksImport) {
	k.ask(i, nil, [][][]byte{words("CLIENT", "ID"), words("CLIENT", "LIST")}, clientListReply, func(v []resp.Value) {
		kill, err := linksOf(i.m.Slot, v)
		switch {
		case err != nil:
			k.lost(i, fmt.Errorf("node %s %w", k.id, err))
		case len(kill) == 0:
			i.tries = 0
			k.look(i)
		default:
			k.ask(i, nil, kill, smallReply, func([]resp.Value) { k.again(i, "an earlier link does not end", k.fence) })
		}
	})
}

// clientID is the id of a line of CLIENT LIST, if the connection has this name.
func clientID(line, name string) (id string) {
	named := false
	for field := range strings.FieldsSeq(line) {
		switch word, value, _ := strings.Cut(field, "="); word {
		case "id":
			id = value
		case "name":
			named = value == name
		}
	}
	if !named {
		return ""
	}
	return id
}

// again repeats a step after a while.
func (k *kvrocks) again(i *kvrocksImport, why string, step func(*kvrocksImport)) {
	if i.tries++; i.tries >= kvrocksTries {
		k.lost(i, fmt.Errorf("node %s: %s", k.id, why))
		return
	}
	k.d.env.Clock.AfterFunc(kvrocksRest, func() { k.locked(i, func() { step(i) }) })
}

// look sees what the Kvrocks imports or has imported.
func (k *kvrocks) look(i *kvrocksImport) {
	k.ask(i, nil, [][][]byte{words("CLUSTER", "INFO")}, smallReply, func(v []resp.Value) {
		if v[0].Kind == resp.ErrorKind {
			k.lost(i, fmt.Errorf("node %s answers CLUSTER INFO with %q", k.id, v[0].Str))
			return
		}
		state, slots := importState(v[0].Str)
		ours := slots == strconv.Itoa(int(i.m.Slot))
		switch {
		case state == "success" && ours && i.settles(): // of this move: since it began nobody else has brought the slot
			k.committed(i)
		case state == "start" && ours: // of a link that has ended, which is noticed in a moment
			k.again(i, "it imports the slot by a link that is gone", k.look)
		case state == "start":
			k.again(i, "it imports slots "+slots, k.look)
		case i.settles() && !k.unsaid[i.m.Slot] && !(state == "error" && ours):
			// An import that ended in an error was not served: the Kvrocks noticed the end of its link first.
			k.lost(i, fmt.Errorf("%w: node %s was told to serve slot %d, or may have been, and does not remember", errUnknown, k.id, i.m.Slot))
		default:
			k.probe(i)
		}
	})
}

// errUnknown says that operators must decide.
var errUnknown = errors.New("nobody knows whether clients have written there: see what it has, and say GODWIT MIGRATION RESOLVE")

// probe asks for a key of the slot, to see whether it is served there.
func (k *kvrocks) probe(i *kvrocksImport) {
	k.ask(i, nil, [][][]byte{words("EXISTS", someKeyOf(i.m.Slot))}, smallReply, func(v []resp.Value) {
		code, _, _ := strings.Cut(v[0].Str, " ")
		switch {
		case v[0].Kind == resp.IntKind && i.settles():
			k.lost(i, fmt.Errorf("%w: node %s serves slot %d by its map", errUnknown, k.id, i.m.Slot))
		case v[0].Kind == resp.IntKind:
			k.refuse(i, fmt.Sprintf("node %s serves slot %d already", k.id, i.m.Slot))
		case v[0].Kind == resp.ErrorKind && (code == "MOVED" || code == "CLUSTERDOWN"):
			k.sayImport(i)
		default:
			k.lost(i, fmt.Errorf("node %s answers EXISTS with %s", k.id, v[0]))
		}
	})
}

// someKeyOf is some key of a slot.
func someKeyOf(sl slot.Slot) string {
	for n := 0; ; n++ {
		if k := strconv.Itoa(n); slot.OfKey([]byte(k)) == sl {
			return k
		}
	}
}

// sayImport says IMPORT 0, which makes the Kvrocks delete what it has of the slot.
func (k *kvrocks) sayImport(i *kvrocksImport) {
	k.ask(i, nil, [][][]byte{i.importCommand(0)}, smallReply, func(v []resp.Value) {
		switch {
		case v[0].Kind == resp.ErrorKind && strings.Contains(v[0].Str, "only one importing job"):
			k.lost(i, fmt.Errorf("node %s: %s", k.id, v[0].Str))
		case v[0].Kind == resp.ErrorKind:
			k.refuse(i, v[0].Str)
		case i.settles():
			k.d.env.Log.Warn("a slot that is decided is sent to a Kvrocks again, since it has lost the import", "slot", i.m.Slot, "node", k.id)
			k.copyFrozen(i, key.DataSpan(i.m.Slot), false)
		default:
			i.live = true
			k.reply(i.kvrocksTurn, migration.Reply{Kind: migration.ReplyStarted, Fresh: true})
		}
	})
}

// copyFrozen sends the copy of a slot that was released, of which nothing changes and which nobody serves, then compares, then lets the
// Kvrocks serve it.
func (k *kvrocks) copyFrozen(i *kvrocksImport, rest key.Span, compare bool) {
	k.d.env.Workers.Submit(func() {
		r := k.d.node.Record(i.m.Slot) // before kvrocks.mu
		k.locked(i, func() { k.copyPiece(i, r, rest, compare) })
	})
}

// copyPiece sends or compares the next piece of a slot whose record is r.
func (k *kvrocks) copyPiece(i *kvrocksImport, r cluster.Record, rest key.Span, compare bool) {
	d := k.d
	if r.State != cluster.Released || r.Job != i.m.Job || r.DataGone {
		k.lost(i, fmt.Errorf("slot %d is not released by job %s any more", i.m.Slot, i.m.Job))
		return
	}
	lim := store.ChunkLimits{Bytes: d.cfg.ChunkBytes, Records: d.cfg.ChunkRecords}
	var said kvrocksSaid
	var last bool
	var err error
	if compare {
		var e expected
		e, err = readExpected(d.node.Store(), i.m.Slot, rest, lim)
		rest.Lo, last = e.covers.Hi, e.last
		if err == nil {
			said, err = expectations(e.requests, d.env.Clock.WallMs())
		}
	} else {
		var e command.Exported
		e, err = command.Export(d.node.Store(), i.m.Slot, rest, lim)
		rest.Lo, last = e.Covers.Hi, e.Last
		if err == nil {
			said, err = writings(i.m.Slot, key.Span{}, e.Commands, d.env.Clock.WallMs())
		}
	}
	if err != nil {
		k.lost(i, err)
		return
	}
	then := func(replies []resp.Value) {
		differ, _, err := said.judge(replies)
		switch {
		case err == nil && differ:
			err = fmt.Errorf("node %s does not keep slot %d as it was sent", k.id, i.m.Slot)
			fallthrough
		case err != nil:
			k.lost(i, err)
		case !last:
			k.copyFrozen(i, rest, compare)
		case !compare:
			k.copyFrozen(i, key.DataSpan(i.m.Slot), true)
		default:
			k.sayServe(i)
		}
	}
	if len(said.commands) == 0 {
		then(nil)
		return
	}
	k.ask(i, nil, said.commands, said.limit, then)
}
