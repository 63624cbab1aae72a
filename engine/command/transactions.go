package command

// transactionSpecs describes the commands of transactions, which the node carries out itself.
func transactionSpecs() []*Spec {
	const group = "transactions"
	return []*Spec{
		{Name: "discard", Arity: 1, Flags: NoScript | Loading | Stale | Fast | Server,
			Group: group, Since: "2.0.0", Complexity: "O(N), when N is the number of queued commands", Summary: "Discard all commands issued after MULTI"},
		{Name: "exec", Arity: 1, Flags: NoScript | Loading | Stale | Server,
			Group: group, Since: "1.2.0", Complexity: "Depends on commands in the transaction", Summary: "Execute all commands issued after MULTI",
			Differs: "commands without keys run when the others have been committed; EXEC fails, too, when the slot of a watched key has left, or has left and come back"},
		{Name: "multi", Arity: 1, Flags: NoScript | Loading | Stale | Fast | Server,
			Group: group, Since: "1.2.0", Complexity: "O(1)", Summary: "Mark the start of a transaction block"},
		{Name: "unwatch", Arity: 1, Flags: NoScript | Loading | Stale | Fast | Server,
			Group: group, Since: "2.2.0", Complexity: "O(1)", Summary: "Forget about all watched keys"},
		{Name: "watch", Arity: -2, Flags: NoScript | Loading | Stale | Fast | Server, FirstKey: 1, LastKey: -1, Step: 1,
			Group: group, Since: "2.2.0", Complexity: "O(1) for every key.", Summary: "Watch the given keys to determine execution of the MULTI/EXEC block"},
	}
}

// observationSpecs describes the commands that look at what other clients do.
func observationSpecs() []*Spec {
	return []*Spec{
		{Name: "monitor", Arity: 1, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: "server", Since: "1.0.0", Complexity: "O(1)", Summary: "Listen for all requests received by the server in real time"},
		{Name: "slowlog", Arity: -2, Flags: Server,
			Group: "server", Since: "2.2.12", Complexity: "Depends on subcommand.", Summary: "A container for slow log commands", Sub: slowlogSpecs()},
		{Name: "wait", Arity: 3, Flags: NoScript | Connection | Server,
			Group: "generic", Since: "3.0.0", Complexity: "O(1)", Summary: "Answers 0 at once: there are no replicas",
			Differs: "there are no replicas: answers 0 at once"},
		{Name: "waitaof", Arity: 4, Flags: NoScript | Connection | Server,
			Group: "generic", Since: "7.2.0", Complexity: "O(1)", Summary: "Wait until what was written is on the disk",
			Differs: "there are no replicas, and the disk is waited for whatever the timeout: answers 1 and 0 when all that the node has written is durable"},
	}
}

func slowlogSpecs() []*Spec {
	const group = "server"
	return []*Spec{
		{Name: "slowlog|get", Arity: -2, Flags: Admin | Loading | Stale | Server,
			Group: group, Since: "2.2.12", Complexity: "O(N) where N is the number of entries returned", Summary: "Get the slow log's entries"},
		{Name: "slowlog|len", Arity: 2, Flags: Admin | Loading | Stale | Server,
			Group: group, Since: "2.2.12", Complexity: "O(1)", Summary: "Get the slow log's length"},
		{Name: "slowlog|reset", Arity: 2, Flags: Admin | Loading | Stale | Server,
			Group: group, Since: "2.2.12", Complexity: "O(N) where N is the number of entries in the slowlog", Summary: "Clear all entries from the slow log"},
	}
}
