package command

// serverSpecs describes the commands that the node carries out itself.
func serverSpecs() []*Spec {
	return []*Spec{
		{Name: "asking", Arity: 1, Flags: Connection | Fast | Server,
			Group: "cluster", Since: "3.0.0", Complexity: "O(1)", Summary: "Sent by cluster clients after an -ASK redirect"},
		{Name: "auth", Arity: -2, Flags: NoScript | Loading | Stale | Fast | NoAuth | Server,
			Group: "connection", Since: "1.0.0", Complexity: "O(1)", Summary: "Authenticate to the server"},
		{Name: "client", Arity: -2, Flags: Server,
			Group: "connection", Since: "2.4.0", Complexity: "Depends on subcommand.", Summary: "A container for client connection commands", Sub: clientSpecs()},
		{Name: "cluster", Arity: -2, Flags: Server,
			Group: "cluster", Since: "3.0.0", Complexity: "Depends on subcommand.", Summary: "A container for cluster commands", Sub: append(clusterSpecs(), slotMoveSpecs()...)},
		{Name: "clusterx", Arity: -2, Flags: Admin | NoScript | Loading | Stale | Alone | Server,
			Group: "cluster", Since: "1.0.0", Complexity: "Depends on subcommand.", Summary: "Topology and migration, as Kvrocks' tools expect them"},
		{Name: "command", Arity: -1, Flags: Connection | Loading | Stale | Server,
			Group: "server", Since: "2.8.13", Complexity: "O(N) where N is the total number of Redis commands", Summary: "Get array of Redis command details", Sub: commandSpecs()},
		{Name: "config", Arity: -2, Flags: Server,
			Group: "server", Since: "2.0.0", Complexity: "Depends on subcommand.", Summary: "A container for server configuration commands", Sub: configSpecs()},
		{Name: "echo", Arity: 2, Flags: Loading | Stale | Fast | Server,
			Group: "connection", Since: "1.0.0", Complexity: "O(1)", Summary: "Echo the given string"},
		{Name: "hello", Arity: -1, Flags: NoScript | Loading | Stale | Fast | NoAuth | Alone | Server,
			Group: "connection", Since: "6.0.0", Complexity: "O(1)", Summary: "Handshake with Redis", Differs: "not allowed in a transaction"},
		{Name: "info", Arity: -1, Flags: Loading | Stale | Dangerous | Server,
			Group: "server", Since: "1.0.0", Complexity: "O(1)", Summary: "Get information and statistics about the server"},
		{Name: "ping", Arity: -1, Flags: Fast | Server,
			Group: "connection", Since: "1.0.0", Complexity: "O(1)", Summary: "Ping the server"},
		{Name: "quit", Arity: -1, Flags: NoScript | Loading | Stale | Fast | NoAuth | Server,
			Group: "connection", Since: "1.0.0", Complexity: "O(1)", Summary: "Close the connection"},
		{Name: "readonly", Arity: 1, Flags: Connection | Loading | Stale | Fast | Server,
			Group: "cluster", Since: "3.0.0", Complexity: "O(1)", Summary: "Enables read queries for a connection to a cluster replica node"},
		{Name: "readwrite", Arity: 1, Flags: Connection | Loading | Stale | Fast | Server,
			Group: "cluster", Since: "3.0.0", Complexity: "O(1)", Summary: "Disables read queries for a connection to a cluster replica node"},
		{Name: "reset", Arity: 1, Flags: NoScript | Loading | Stale | Fast | NoAuth | Server,
			Group: "connection", Since: "6.2.0", Complexity: "O(1)", Summary: "Reset the connection"},
		{Name: "select", Arity: 2, Flags: Loading | Stale | Fast | Server,
			Group: "connection", Since: "1.0.0", Complexity: "O(1)", Summary: "Change the selected database for the current connection"},
		{Name: "time", Arity: 1, Flags: Loading | Stale | Fast | Server,
			Group: "server", Since: "2.6.0", Complexity: "O(1)", Summary: "Return the current server time"},
	}
}

func clientSpecs() []*Spec {
	const group = "connection"
	return []*Spec{
		{Name: "client|getname", Arity: 2, Flags: NoScript | Loading | Stale | Server,
			Group: group, Since: "2.6.9", Complexity: "O(1)", Summary: "Get the current connection name"},
		{Name: "client|id", Arity: 2, Flags: NoScript | Loading | Stale | Server,
			Group: group, Since: "5.0.0", Complexity: "O(1)", Summary: "Returns the client ID for the current connection"},
		{Name: "client|info", Arity: 2, Flags: NoScript | Loading | Stale | Server,
			Group: group, Since: "6.2.0", Complexity: "O(1)", Summary: "Returns information about the current client connection."},
		{Name: "client|kill", Arity: -3, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "2.4.0", Complexity: "O(N) where N is the number of client connections", Summary: "Kill the connection of a client"},
		{Name: "client|list", Arity: -2, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "2.4.0", Complexity: "O(N) where N is the number of connections.", Summary: "Get the list of client connections"},
		{Name: "client|no-evict", Arity: 3, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "7.0.0", Complexity: "O(1)", Summary: "Set client eviction mode for the current connection"},
		{Name: "client|no-touch", Arity: 3, Flags: NoScript | Loading | Stale | Server,
			Group: group, Since: "7.2.0", Complexity: "O(1)", Summary: "Accepted for compatibility: keys have no time of last access"},
		{Name: "client|pause", Arity: -3, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(1)", Summary: "Stop processing commands from clients for some time",
			Differs: "CLIENT UNPAUSE is never held back, and expired keys are deleted meanwhile"},
		{Name: "client|reply", Arity: 3, Flags: NoScript | Loading | Stale | Alone | Server,
			Group: group, Since: "3.2.0", Complexity: "O(1)", Summary: "Instruct the server whether to reply to commands", Differs: "not allowed in a transaction"},
		{Name: "client|setinfo", Arity: 4, Flags: NoScript | Loading | Stale | Server,
			Group: group, Since: "7.2.0", Complexity: "O(1)", Summary: "Set information about the client library of the current connection"},
		{Name: "client|setname", Arity: 3, Flags: NoScript | Loading | Stale | Server,
			Group: group, Since: "2.6.9", Complexity: "O(1)", Summary: "Set the current connection name"},
		{Name: "client|unblock", Arity: -3, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "5.0.0", Complexity: "O(log N) where N is the number of client connections", Summary: "Unblock a client blocked in a blocking command from a different connection"},
		{Name: "client|unpause", Arity: 2, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "6.2.0", Complexity: "O(1)", Summary: "Resume processing of clients that were paused"},
	}
}

func commandSpecs() []*Spec {
	const group = "server"
	return []*Spec{
		{Name: "command|count", Arity: 2, Flags: Connection | Loading | Stale | Server,
			Group: group, Since: "2.8.13", Complexity: "O(1)", Summary: "Get total number of Redis commands"},
		{Name: "command|docs", Arity: -2, Flags: Connection | Loading | Stale | Server,
			Group: group, Since: "7.0.0", Complexity: "O(N) where N is the number of commands to look up", Summary: "Get array of specific Redis command documentation"},
		{Name: "command|getkeys", Arity: -4, Flags: Connection | Loading | Stale | Server,
			Group: group, Since: "2.8.13", Complexity: "O(N) where N is the number of arguments to the command", Summary: "Extract keys given a full Redis command"},
		{Name: "command|info", Arity: -2, Flags: Connection | Loading | Stale | Server,
			Group: group, Since: "2.8.13", Complexity: "O(N) where N is the number of commands to look up", Summary: "Get array of specific Redis command details, or all when no argument is given."},
		{Name: "command|list", Arity: -2, Flags: Connection | Loading | Stale | Server,
			Group: group, Since: "7.0.0", Complexity: "O(N) where N is the total number of Redis commands", Summary: "Get an array of Redis command names"},
	}
}

func configSpecs() []*Spec {
	const group = "server"
	return []*Spec{
		{Name: "config|get", Arity: -3, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "2.0.0", Complexity: "O(N) when N is the number of configuration parameters provided", Summary: "Get the values of configuration parameters"},
		{Name: "config|resetstat", Arity: 2, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "2.0.0", Complexity: "O(1)", Summary: "Reset the stats returned by INFO"},
		{Name: "config|set", Arity: -4, Flags: Admin | NoScript | Loading | Stale | Server,
			Group: group, Since: "2.0.0", Complexity: "O(N) when N is the number of configuration parameters provided", Summary: "Set configuration parameters to the given values"},
	}
}

func clusterSpecs() []*Spec {
	const group = "cluster"
	return []*Spec{
		{Name: "cluster|countkeysinslot", Arity: 3, Flags: Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(N) where N is the number of keys in the slot.", Summary: "Return the number of local keys in the specified hash slot"},
		{Name: "cluster|getkeysinslot", Arity: 4, Flags: Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(N) where N is the number of requested keys.", Summary: "Return local key names in the specified hash slot"},
		{Name: "cluster|info", Arity: 2, Flags: Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(1)", Summary: "Provides info about Redis Cluster node state"},
		{Name: "cluster|keyslot", Arity: 3, Flags: Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(N) where N is the length of the key.", Summary: "Returns the hash slot of the specified key"},
		{Name: "cluster|myid", Arity: 2, Flags: Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(1)", Summary: "Return the node id"},
		{Name: "cluster|myshardid", Arity: 2, Flags: Stale | Server,
			Group: group, Since: "7.2.0", Complexity: "O(1)", Summary: "Return the id of the node's shard",
			Differs: "a shard has the id of its master"},
		{Name: "cluster|nodes", Arity: 2, Flags: Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(N) where N is the number of nodes.", Summary: "Get Cluster config for the node"},
		{Name: "cluster|replicas", Arity: 3, Flags: Admin | Stale | Server,
			Group: group, Since: "5.0.0", Complexity: "O(1)", Summary: "List replica nodes of the specified master node"},
		{Name: "cluster|reset", Arity: -2, Flags: Admin | NoScript | Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(N) where N is the number of slots.", Summary: "Reset a Redis Cluster node"},
		{Name: "cluster|shards", Arity: 2, Flags: Stale | Server,
			Group: group, Since: "7.0.0", Complexity: "O(N) where N is the number of nodes.", Summary: "Get array of cluster slots to node mappings"},
		{Name: "cluster|slots", Arity: 2, Flags: Stale | Server,
			Group: group, Since: "3.0.0", Complexity: "O(N) where N is the number of nodes.", Summary: "Get array of Cluster slot to node mappings"},
	}
}
