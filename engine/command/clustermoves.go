package command

import "strings"

// slotMoveSpecs describes the subcommands of CLUSTER with which the tools of Redis and Valkey move slots.
func slotMoveSpecs() []*Spec {
	const group = "cluster"
	return []*Spec{
		{Name: "cluster|bumpepoch", Arity: 2, Flags: Admin | Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(1)", Summary: "Advance the cluster config epoch",
			Differs: "changes nothing: epochs belong to slots and are raised by moves only"},
		{Name: "cluster|cancelslotmigrations", Arity: 2, Flags: Admin | Stale | Alone | Server,
			Group: group, Since: "9.0.0", Complexity: "O(N), where N is the number of slot migration operations being cancelled.",
			Summary: "Cancel all current ongoing slot migration operations, as in Valkey 9"},
		{Name: "cluster|getslotmigrations", Arity: 2, Flags: Admin | Stale | Alone | Server,
			Group: group, Since: "9.0.0", Complexity: "O(N), where N is the number of slot import and export jobs.",
			Summary: "Get the status of ongoing and recently finished slot import and export operations, as in Valkey 9"},
		{Name: "cluster|import", Arity: 4, Flags: Admin | NoScript | Stale | Alone | Server,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of slots, and of their keys on failure.",
			Summary: "Begin and end the import of slots from a Kvrocks, as it says to its target"},
		{Name: "cluster|migrateslots", Arity: -4, Flags: Admin | Stale | Alone | Server,
			Group: group, Since: "9.0.0", Complexity: "O(N) where N is the total number of the slots between all start slot and end slot arguments.",
			Summary: "Migrate the given slots from this node to the specified nodes, as in Valkey 9"},
		{Name: "cluster|migration", Arity: -4, Flags: Admin | Stale | Alone | Server,
			Group: group, Since: "8.4.0", Complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
			Summary: "Start, monitor and cancel slot migration, as in Redis 8.4: said to the destination"},
		{Name: "cluster|count-failure-reports", Arity: 3, Flags: Admin | Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(1)", Summary: "Return the number of failure reports active for a given node",
			Differs: "nodes do not report each other: always 0"},
		{Name: "cluster|setslot", Arity: -4, Flags: Admin | Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(1)", Summary: "Bind a hash slot to a specific node",
			Differs: "the slot moves as a whole, by a job; NODE waits for it, and only the owner can give a slot away"},
	}
}

// migrateSpecs describes MIGRATE.
func migrateSpecs() []*Spec {
	return []*Spec{
		{Name: "migrate", Arity: -6, Flags: Write | Movable | Dangerous | Alone | Server, FirstKey: migrateKey, LastKey: migrateKey, Step: 1, Keys: migrateKeys, Keyword: "KEYS",
			Group: "generic", Since: "2.6.0", Complexity: "This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the target instance.",
			Summary: "Atomically transfer a key from a Redis instance to another one.",
			Differs: "to a node of the cluster it moves the whole slot, which SETSLOT must have marked; to others it has a connection for each call"},
	}
}

// migrateKey is the position of MIGRATE's key, which is empty if there are more.
const migrateKey = 3

// migrateKeys appends the positions of the keys of MIGRATE.
func migrateKeys(args [][]byte, dst []int) []int {
	if len(args[migrateKey]) > 0 {
		return append(dst, migrateKey)
	}
	if from := MigrateKeysAt(args); from > 0 {
		for i := from; i < len(args); i++ {
			dst = append(dst, i)
		}
	}
	return dst
}

// MigrateKeysAt is the position of the first key behind the word KEYS of MIGRATE, 0 if the word is not there. A password that is "keys"
// is none.
func MigrateKeysAt(args [][]byte) int {
	for i := migrateKey + 3; i < len(args); i++ {
		switch strings.ToLower(string(args[i])) {
		case "auth":
			i++
		case "auth2":
			i += 2
		case "keys":
			return i + 1
		}
	}
	return 0
}
