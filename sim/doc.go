// Package sim runs clusters of real nodes in one goroutine: virtual time, network and disk, clients, an operator and a
// nemesis, all decided by one seed; and it judges what came of it.
//
// Vocabulary. A *world* is one run. A *process* is one of its nodes, which crashes and comes back; each time it comes back
// is a *life*. An *event* is a function with a virtual time. The *safety phase* is the part of a run in which faults
// happen, the *liveness phase* the one after they have healed. The *swarm* is what a seed has drawn: which faults, how
// strong, which sizes. A *violation* is a property that did not hold.
//
// Invariants.
//  1. Everything that happens is a function of the seed and of the code: no wall clock, no goroutine but Pebble's, whose
//     work is awaited within the event that caused it, no iteration over a map that anything follows from.
//  2. Nothing of a life runs after its crash, and nothing that it does after the moment of the crash is seen by anybody.
//  3. The nodes are those of production: engine.Open with the migrator of migration/driver. What is simulated is what
//     engine/env and vfs.FS declare.
//  4. A checker only looks; it never changes what the nodes do.
//
// Contract: Run(seed, Config) is a pure function, but that at most one mutant is switched on for the whole process
// (package mutant); runs of one process therefore follow one another. The fault model stands in nemesis.go, the
// properties in the check_*.go files, and README.md says how to replay a seed.
package sim
