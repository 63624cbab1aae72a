// Package data gives the keys of a store the meaning that Redis gives them: types, values, expiry, enumeration.
//
// Vocabulary. A *transaction* (Tx) is one command's view of the store: what it reads, and the batch of what it writes. A
// *record* is what a user key is: type, expiry, and for strings the value. A *collection* is a value of any other type: its
// record, and *elements* of their own under the *generation* that the record names. A *member* is an element of a set, a
// sorted set or a hash (where it is the field). An *entry* is a key together with the record
// that a transaction found under it. A key is *expired* when the time of the transaction is past its expiry; an expired
// key *is due*.
//
// Invariants.
//  1. A record with an expiry has exactly one entry in the expiry index of its slot, under that expiry, and every entry of
//     the index belongs to such a record (CheckSlot). Both change in one batch.
//  2. "This key is expired" is never answered without its deletion in the batch of the same transaction: clocks of nodes
//     differ, and otherwise a later owner of the slot could show the key again. A transaction that may not write says
//     NeedsWrite instead, and its reply must not be used. Enumerations leave expired keys out without deleting them.
//  3. After an error of the store (Err) a transaction reads nothing more; its reply and its batch must not be used.
//  4. Records decode to what was encoded, have one encoding each, and no bytes make the decoder panic.
//  5. A collection is never empty; its record holds the number of its elements, no two of a slot have one generation, and no
//     element is without its record (CheckSlot). Record and elements change in one batch.
//
// Contract. The engine holds the locks of the slots that a command names, begins a transaction at one reading of the wall
// clock, runs the handler, and then, in this order: with Err it discards and answers an internal error; with NeedsWrite it
// discards and runs the handler again with the locks taken for writing; otherwise it commits Batch, if there is one, and
// sends the reply once that is durable. Batches of mode Write cannot be read: a handler loads a key once, before it writes
// it. A transaction belongs to one goroutine.
//
// The design is in engine/DESIGN.md; the bytes of keys are in engine/key.
package data
