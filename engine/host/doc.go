// Package host is the edge: it gives a node the real world and the world a node. It implements the seams of engine/env
// with the machine's clock, goroutines and TCP, reads requests from sockets, and runs the life of the process.
//
// Everything in the engine that starts a goroutine, reads a clock or opens a socket does it here.
//
// Vocabulary. A *connection* is a socket that somebody opened to this node, with the session that runs its commands. A
// *link* is a socket that this node opened to another one; there is one for each peer and lane. A *loop* reads many connections on
// one goroutine, its *runner*, one after another; a connection's part in that is a *turn*.
//
// Invariants.
//  1. Replies leave a connection in the order in which its session delivered them, each once, and by one writer at a time.
//  2. Nothing that a client, or whoever answers at the address of a peer or of another server, sends can make this package panic,
//     or hold more memory than the limits allow: a length is checked before a byte of what it announces is kept.
//  3. A call to a peer is answered exactly once, unless the node closes first; replies are matched to calls by their order,
//     so a link on which anything unexpected was read is closed.
//  4. After Server.Shutdown has returned no callback of the node runs, and the data directory is free.
package host
