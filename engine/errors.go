package engine

// Error replies of the node itself. Those of data commands are in package command, those of routing and of maps in package
// cluster, those of a job in package migration. Texts are those of Redis 7.0 and, for CLUSTER and CLUSTERX, of Kvrocks,
// where these have the error: tools match on them.
const (
	errNoAuth   = "NOAUTH Authentication required."
	errInternal = "ERR internal error: the store could not be read, see the server's log"
	errTooLarge = "ERR the command would write more than 1 GiB at once"

	errSyntax       = "ERR syntax error"
	errNotInteger   = "ERR value is not an integer or out of range"
	errDBIndex      = "ERR DB index is out of range"
	errSelect       = "ERR SELECT is not allowed in cluster mode"
	errNoProto      = "NOPROTO unsupported protocol version"
	errProtoInteger = "ERR Protocol version is not an integer or out of range"
	errHelloAuth    = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	errWrongPass    = "WRONGPASS invalid username-password pair or user is disabled."
	errNoPassword   = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	errClientName   = "ERR Client names cannot contain spaces, newlines or special characters."
	errClientID     = "ERR Invalid client ID"

	errSlot     = "ERR Invalid slot"
	errSlotKeys = "ERR Invalid slot or number of keys"

	errNoMigrator = "ERR this node cannot move slots"
	errJobCounter = "ERR the counter of a job is a number, as GODWIT MIGRATION START answered it"
	errNoSuchJob  = "ERR no such job"
	errMigration  = "ERR GODWIT MIGRATION takes PLAN, START, STATUS, THROTTLE, PAUSE, RESUME, CUTOVER, CANCEL, ROLLBACK, CLEAN, HISTORY, REPORT, RESOLVE or HELP: see GODWIT MIGRATION HELP for their arguments"
	errThrottled  = "ERR THROTTLE takes the counter of a job, as GODWIT MIGRATION START answered it, or NODE"
	errOverload   = "ERR ON-OVERLOAD takes SLOW or KEEP"
	errTiming     = "ERR PAUSE-TARGET, PAUSE-DEADLINE and CONVERGE-WITHIN take a time such as 50ms or 1s"
	errPriority   = "ERR PRIORITY takes a whole number from -100 to 100"
	errPayload    = "ERR PAYLOAD takes auto, raw, command or sst"
	errHoldSource = "ERR HOLD-SOURCE takes a duration such as 10m, of a millisecond to 30 days"
)

// Errors of GODWIT DIGEST and GODWIT VERIFY.
const (
	errDigest         = "ERR GODWIT DIGEST takes a slot, and STORED for the digest of the records as they are stored"
	errVerify         = "ERR GODWIT VERIFY takes OPEN, CHUNK, LIST, EXPORT, WRITTEN, CLOSE, REPAIR or HELP: see GODWIT VERIFY HELP for their arguments"
	errVerifyClosed   = "ERR this connection holds no slots to verify, or no longer: GODWIT VERIFY OPEN comes first"
	errVerifySpan     = "ERR want a slot that GODWIT VERIFY OPEN has named, and a span within it"
	errVerifyLimit    = "ERR a limit is out of range: 64 MiB and 1048576 items at most"
	errVerifyNoData   = "ERR this node had no copy of the slot when GODWIT VERIFY OPEN named it"
	errRepairServed   = "ERR the slot is served here: what clients write meanwhile would be overwritten; stop them, or say FORCE"
	errRepairPaused   = "TRYAGAIN the slot is being handed over"
	errRepairSending  = "TRYAGAIN keys of the slot are being sent to another server"
	errRepairArriving = "ERR the slot is arriving here by a job, which compares it by itself"
	errRepairNothing  = "ERR this node has no copy of the slot"
)

// Errors of transactions and of waiting.
const (
	errNestedMulti      = "ERR MULTI calls can not be nested"
	errWatchInMulti     = "ERR WATCH inside MULTI is not allowed"
	errAlone            = "ERR Command not allowed inside a transaction"
	errExec             = "ERR EXEC without MULTI"
	errDiscard          = "ERR DISCARD without MULTI"
	errExecAbort        = "EXECABORT Transaction discarded because of previous errors."
	errExecAbortBecause = "EXECABORT Transaction discarded because of: "
	errQueuedCommands   = "ERR a transaction holds %d commands at most"
	errQueuedBytes      = "ERR the arguments of a transaction's commands hold %d bytes together at most"
	errTransactionSize  = "ERR the transaction writes or answers more than 1 GiB: nothing of it was done"
	errWatchedKeys      = "ERR a connection watches %d keys at most"
	errUnblocked        = "UNBLOCKED client unblocked via CLIENT UNBLOCK"
	errUnblockReason    = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"
	errTimeoutInteger   = "ERR timeout is not an integer or out of range"
	errTimeoutNegative  = "ERR timeout is negative"
	errPauseMode        = "ERR CLIENT PAUSE mode must be WRITE or ALL"
	errNoSuchClient     = "ERR No such client"
	errKillID           = "ERR client-id should be greater than 0"
	errMonitorInMulti   = "ERR MONITOR isn't allowed for DENY BLOCKING client"
	errWaitLocal        = "ERR value is out of range, value must between 0 and 1"
	errNotPositive      = "ERR value is out of range, must be positive"
	errSlowLogCount     = "ERR count should be greater than or equal to -1"
)

// errNoSuchUser is the error for CLIENT KILL USER with a name that is not the only user's.
func errNoSuchUser(name []byte) string { return "ERR No such user '" + string(name) + "'" }

// errJobFailed is what CLUSTERX MIGRATE … SYNC says of a job that failed without saying why.
const errJobFailed = "ERR the migration failed"

// errAttribute is the error for CLIENT SETINFO with a value that would break the lines of CLIENT LIST.
func errAttribute(name []byte) string {
	return "ERR " + string(name) + " cannot contain spaces, newlines or special characters."
}

func errUnrecognized(option []byte) string { return "ERR Unrecognized option '" + string(option) + "'" }

func errHelloOption(option []byte) string {
	return "ERR Syntax error in HELLO option '" + string(option) + "'"
}

func errClientType(name []byte) string { return "ERR Unknown client type '" + string(name) + "'" }

func errArity(name string) string {
	return "ERR wrong number of arguments for '" + name + "' command"
}

// errNotHere is the error for a command that the table has and the node does not know: a bug that a test looks for.
func errNotHere(name string) string {
	return "ERR command '" + name + "' is not available on this node"
}

// Errors of CONFIG SET.

func errConfigUnknown(name string) string {
	return "ERR Unknown option or number of arguments for CONFIG SET - '" + name + "'"
}

func errConfig(name, why string) string {
	return "ERR CONFIG SET failed (possibly related to argument '" + name + "') - " + why
}

const (
	whyImmutable  = "can't set immutable config"
	whyDuplicate  = "duplicate parameter"
	whyNotInteger = "argument couldn't be parsed into an integer"
	whySyncMode   = "argument(s) must be one of the following: always, interval, never"
	whyFsync      = "argument(s) must be one of the following: everysec, always, no"
	whySlowerThan = "argument must be between -1 and 9223372036854775807 inclusive"
	whySlowLogLen = "argument must be between 0 and 1048576 inclusive"
	whyMaxClients = "argument must be between 1 and 4294967295 inclusive"
	whyNoMigrator = "this node moves no slots: it runs without cluster mode"
)
