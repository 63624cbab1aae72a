// Package cluster holds what a node knows about who serves which slot: its own durable ownership records, and the map that
// a controller pushed. It decides nothing by itself and does no I/O; the engine persists what it encodes and the migration
// decides what it records.
//
// # Vocabulary
//
// A Record is this node's durable statement about one slot. Its Epoch, the slot epoch, is per slot, is raised only by the
// current owner's handoff, and is the only number compared between records and announcements.
//
// A Map is the topology of CLUSTERX SETNODES. Its Version belongs to the controller, is compared only with versions of
// other maps, and says where to send clients. The two numbers have different types because comparing them is how two owners
// come about. A Hint is a slot's whereabouts as heard from another node.
//
// A View is what one node shows of the above to clients: the texts and replies of CLUSTER INFO, NODES, SLOTS, SHARDS and
// REPLICAS, with the owner of each slot as the node knows it from records and hints where the map is behind.
//
// # Invariants
//
//  1. A node serves a slot if and only if its own record says Serving. No map, hint or announcement makes a record.
//  2. Records are replaced, never deleted: Released outlives the data, so that an old map cannot give the slot back.
//  3. The slot epoch of a slot never falls on any node.
//  4. A Map does not change once it is built: every change is another Map. It may be read from any goroutine.
//  5. In a Map each slot has at most one owner, which is a master of that map; node ids are unique.
//  6. Two nodes that hold maps of equal Version hold maps of equal Hash; a difference is an operator's error and is shown.
//  7. ParseNodes of m.Text() and DecodeMap of EncodeMap(m) give a map equal to m.
//
// Invariants 4, 5 and 7 are this package's to keep and are checked by its tests; the others bind engine and migration,
// which see the records of a whole cluster, and are checked by the simulator.
//
// # Contract
//
// Everything here is a pure function of its arguments. Texts that come from outside (SETNODES, SETSLOT, bytes on disk) are
// checked by ParseNodes, NewMap, WithSlots, DecodeMap and DecodeRecord, none of which can panic. Error values of type Error
// are texts for clients, as tools made for Kvrocks expect them.
package cluster
