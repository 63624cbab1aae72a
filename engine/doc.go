// Package engine is the node: it runs the commands of its sessions over the store, knows which slots it owns and where to
// redirect for the others, and lets nothing leave before what it depends on is durable. How data moves between nodes it
// does not know: that is behind the Migrator interface.
//
// Vocabulary. A *session* is one connection of a client or a peer. A command is *admitted* when it holds the locks of its
// slots and the routing, read under those locks, says serve. A command that cannot be admitted yet is *parked*: it holds no
// lock and is run again, from routing on, when the slot's state changes. A command that *waits for keys* (BLPOP) found nothing
// in them and is run again, from routing on, when one changes. The *gate* holds replies until what they depend on
// is durable.
//
// Invariants.
//  1. Routing is read under the slot's lock and holds until it is released.
//  2. A command on a slot runs only if this node's own ownership record says serving (cluster mode), a write only if the
//     slot is not paused, a read only if it is not sealed.
//  3. A reply leaves only when the commits that it shows or depends on are durable (sync mode always; replies to peers in
//     every mode), and replies of a session leave in the order of its commands.
//  4. A parked command, and one that waits for keys, is completed exactly once, and the commands behind it on its session wait
//     for it.
//  5. A transaction is routed once, under the locks of all its keys and of the keys that its session watches, and is one commit
//     or none. Between WATCH and an EXEC that answers with replies nobody has changed a watched key, here or on another node.
//  6. Where a key holds something, the first that waits for it is under way to it.
//
// Locks, in the order in which they are taken: a session, Node.change, the stripes of slots in ascending order, the node's
// small mutexes. Completing a parked command never happens under a stripe: it is handed to the workers.
//
// Concurrency: everything exported is safe for concurrent use unless it says otherwise. The package starts no goroutine and
// reads no clock of its own: both come through engine/env. The design is in DESIGN.md beside this file.
package engine
