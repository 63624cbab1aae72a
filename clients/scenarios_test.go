package clients

// scenario is something that every client is asked to do. A client answers each of its table exactly once.
type scenario struct {
	id    string // as programs print it
	title string // as the README shows it
}

// table is the scenarios that are run against one deployment.
type table struct {
	title     string
	scenarios []scenario
}

// tables are what the README shows, in its order.
var tables = []table{
	{"One node", []scenario{
		{"connect", "connect in RESP2, name the connection, select database 0"},
		{"resp3", "connect in RESP3: maps, doubles, null"},
		{"auth", "a password: right, wrong, none"},
		{"strings", "strings"},
		{"bitmaps", "bitmaps"},
		{"hashes", "hashes"},
		{"lists", "lists"},
		{"sets", "sets"},
		{"sortedsets", "sorted sets"},
		{"expiry", "expiry"},
		{"pipeline", "pipeline of 10,000 commands"},
		{"transaction", "MULTI and EXEC, with a command that fails inside"},
		{"watch", "WATCH: a conflict refused, the retry accepted"},
		{"blockingwoken", "blocking read woken by another connection"},
		{"blockingtimeout", "blocking read that times out"},
		{"scan", "SCAN, HSCAN, SSCAN and ZSCAN to the end"},
		{"binary", "keys, fields and values of any bytes"},
		{"large", "value of 8 MiB"},
		{"errors", "errors as the client's own: WRONGTYPE, unknown command, not an integer"},
	}},
	{"A cluster of three nodes", []scenario{
		{"discover", "all nodes and slots found from one address"},
		{"spread", "300 keys on all nodes"},
		{"hashtags", "commands on several keys of one hash tag"},
		{"crossslot", "CROSSSLOT reported"},
		{"clusterpipeline", "pipeline over all nodes"},
		{"clustertransaction", "MULTI and EXEC in one slot"},
		{"moves", "increments and reads while slots move: each exactly once, no error"},
		{"movespipeline", "pipelines while slots move: each command exactly once, no error"},
		{"movestransaction", "transactions while slots move: whole, exactly once, no error"},
		{"movesblocking", "blocking read whose slot moves: woken and served by the new node"},
	}},
}
