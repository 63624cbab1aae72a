package command

// godwitSpecs describes the commands that neither Redis nor Kvrocks has: those behind the command line's cluster and
// migrate commands.
func godwitSpecs() []*Spec {
	const group = "cluster"
	return []*Spec{
		{Name: "godwit", Arity: -2, Flags: Admin | NoScript | Stale | Alone | Server,
			Group: group, Since: "0.1.0", Complexity: "Depends on subcommand.", Summary: "A container for commands about slots and their moves",
			Sub: []*Spec{
				{Name: "godwit|digest", Arity: -3, Flags: Admin | NoScript | Stale | Alone | Server,
					Group: group, Since: "0.1.0", Complexity: "O(N) where N is the number of elements of the slot.", Summary: "Answer the digest of what a slot holds"},
				{Name: "godwit|migration", Arity: -3, Flags: Admin | NoScript | Stale | Alone | Server,
					Group: group, Since: "0.1.0", Complexity: "O(N) where N is the number of jobs or slots.", Summary: "Start, show or cancel jobs that move slots"},
				{Name: "godwit|owners", Arity: -3, Flags: Admin | NoScript | Stale | Alone | Server,
					Group: group, Since: "0.1.0", Complexity: "O(N) where N is the number of slots.", Summary: "Show the ownership records of slots as JSON"},
				{Name: "godwit|status", Arity: 2, Flags: Admin | NoScript | Stale | Alone | Server,
					Group: group, Since: "0.1.0", Complexity: "O(N) where N is the number of slots.", Summary: "Show what this node serves and moves as JSON"},
				{Name: "godwit|verify", Arity: -3, Flags: Admin | NoScript | Stale | Alone | Server,
					Group: group, Since: "0.1.0", Complexity: "O(N) where N is the number of elements read.", Summary: "Compare slots with those of another node, and mend them"},
			}},
	}
}
