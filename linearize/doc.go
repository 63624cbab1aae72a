// Package linearize records what clients of a Redis-protocol store saw and says whether one copy of the data,
// changed by one command at a time, could have answered them so.
//
// # Vocabulary
//
// An operation is what takes effect in one step, a command on one key or several or a transaction: its interval from Call
// to Return, its reply, its outcome. A history is a set of operations (and events such as faults, which only the picture
// shows). A linearization is an order of the operations in which none comes before another that returned before it was
// called, and in which the model gives every reply that was seen. Keys that operations link are judged together, each
// other key by itself: a history is linearizable exactly if each of these parts is.
//
// # Invariants
//
//  1. Unknown never passes as OK: the zero Result is UnknownResult, and Verdict.OK holds for Linearizable
//     alone.
//  2. Without Options.Timeout everything is a function of the history and the options: verdict, text, file, picture.
//  3. No legal history is rejected: where the model lacks knowledge (an unknown outcome, clocks that differ) it
//     allows everything that could have been.
//  4. An operation is left out of the judgement only if it cannot have changed anything: it failed before it ran,
//     or it reads and nobody saw its reply.
//  5. Closing an open write early (see closeObserved) changes no verdict.
//
// # Contract
//
// The caller fills a Recorder from any number of goroutines, or a History by hand, then calls Check once all clients
// have stopped. The package reads no clock: times come from the caller, on one axis for all clients, virtual or
// monotonic. It starts no goroutine that outlives a call. Formats, models and limits are in README.md beside it.
package linearize
