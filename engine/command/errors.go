package command

import (
	"fmt"
	"strings"

	"godwit/engine/data"
	"godwit/engine/key"
)

// The errors that clients see from this package. The texts are those of Redis 7.0 where it has the error.
const (
	errSyntax         = "ERR syntax error"
	errWrongType      = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errNotInteger     = "ERR value is not an integer or out of range"
	errNotFloat       = "ERR value is not a valid float"
	errOverflow       = "ERR increment or decrement would overflow"
	errDecrOverflow   = "ERR decrement would overflow"
	errNaN            = "ERR increment would produce NaN or Infinity"
	errTooLong        = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errOffset         = "ERR offset is out of range"
	errNoSuchKey      = "ERR no such key"
	errSameObject     = "ERR source and destination objects are the same"
	errCursor         = "ERR invalid cursor"
	errDBIndex        = "ERR DB index is out of range"
	errNotInt32       = "ERR value is out of range, value must between -2147483648 and 2147483647"
	errExpireNX       = "ERR NX and XX, GT or LT options at the same time are not compatible"
	errExpireGTLT     = "ERR GT and LT options at the same time are not compatible"
	errNoKeyArgs      = "ERR The command has no key arguments"
	errBadCommand     = "ERR Invalid command specified"
	errBadKeyArgs     = "ERR Invalid number of arguments specified for command"
	errBadArguments   = "ERR Invalid arguments specified for command"
	errHashInteger    = "ERR hash value is not an integer"
	errHashFloat      = "ERR hash value is not a float"
	errInfinite       = "ERR value is NaN or Infinity"
	errNotPositive    = "ERR value is out of range, must be positive"
	errOutOfRange     = "ERR value is out of range"
	errNotLong        = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
	errNumKeys        = "ERR numkeys should be greater than 0"
	errFewKeys        = "ERR Number of keys can't be greater than number of args"
	errLimit          = "ERR LIMIT can't be negative"
	errIndex          = "ERR index out of range"
	errRankZero       = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list"
	errCountNegative  = "ERR COUNT can't be negative"
	errMaxLenNegative = "ERR MAXLEN can't be negative"
	errCountPositive  = "ERR count should be greater than 0"
	errBitOffset      = "ERR bit offset is not an integer or out of range"
	errBitValue       = "ERR bit is not an integer or out of range"
	errBitArgument    = "ERR The bit argument must be 1 or 0."
	errBitopNot       = "ERR BITOP NOT must be called with a single source key."
	errScoreNaN       = "ERR resulting score is not a number (NaN)"
	errAddNXXX        = "ERR XX and NX options at the same time are not compatible"
	errAddGTLT        = "ERR GT, LT, and/or NX options at the same time are not compatible"
	errAddIncr        = "ERR INCR option supports a single increment-element pair"
	errScoreRange     = "ERR min or max is not a float"
	errLexRange       = "ERR min or max not valid string range item"
	errRankLimit      = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
	errLexScores      = "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
	errWeight         = "ERR weight value is not a float"
	errReplyTooBig    = "ERR the reply exceeds the maximum size of 1 GiB"
	errNoLFU          = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
	errFieldType      = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
	errFieldOverflow  = "ERR Invalid OVERFLOW type specified"
	errFieldReadOnly  = "ERR BITFIELD_RO only supports the GET subcommand"
	errPayload        = "ERR DUMP payload version or checksum are wrong"
	errBadFormat      = "ERR Bad data format"
	errBusyKey        = "BUSYKEY Target key name already exists."
	errTTL            = "ERR Invalid TTL value, must be >= 0"
	errIdleTime       = "ERR Invalid IDLETIME value, must be >= 0"
	errFreq           = "ERR Invalid FREQ value, must be >= 0 and <= 255"
	errRestoreTooBig  = "ERR the value exceeds the maximum size of 1 GiB"
	errSortBy         = "ERR BY option of SORT denied in cluster mode."
	errSortGet        = "ERR GET option of SORT denied in cluster mode."
	errSortNumber     = "ERR One or more scores can't be converted into double"
	errSortTooBig     = "ERR the elements to sort exceed the maximum size of 1 GiB"
	errCommonType     = "ERR The specified keys must contain string values"
	errCommonBoth     = "ERR If you want both the length and indexes, please just use IDX."
	errCommonTooBig   = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
	errRequestTooBig  = "ERR request exceeds the maximum size of 1 GiB"
)

var errKeyTooLong = fmt.Sprintf("ERR key exceeds the maximum length of %d bytes", key.MaxUserKey)

var errElementTooLong = fmt.Sprintf("ERR field or member exceeds the maximum length of %d bytes", data.MaxElement)

// errExpire is the error for an expiry that is not positive or too far ahead.
func errExpire(command string) string { return "ERR invalid expire time in '" + command + "' command" }

// errArity is the error for a wrong number of arguments.
func errArity(command string) string {
	return "ERR wrong number of arguments for '" + command + "' command"
}

// errNoInputKeys is the error for a command on sorted sets that names none.
func errNoInputKeys(command string) string {
	return "ERR at least 1 input key is needed for '" + command + "' command"
}

// errOption is the error for an option that a command does not know.
func errOption(option []byte) string {
	return "ERR Unsupported option " + echo(option, len(option))
}

// echoLimit is how much of what a client sent an error repeats, in bytes.
const echoLimit = 128

// errUnknown is the error for a command that is not in the table.
func errUnknown(args [][]byte) string {
	var rest strings.Builder
	for _, a := range args[1:] {
		if rest.Len() >= echoLimit {
			break
		}
		rest.WriteString("'" + echo(a, echoLimit-rest.Len()) + "' ")
	}
	return "ERR unknown command '" + echo(args[0], echoLimit) + "', with args beginning with: " + rest.String()
}

// errUnknownSub is the error for a subcommand that a container does not have.
func errUnknownSub(container, sub []byte) string {
	return "ERR unknown subcommand '" + echo(sub, echoLimit) + "'. Try " + echo([]byte(strings.ToUpper(string(container))), echoLimit) + " HELP."
}

// echo cuts what a client sent as C's %.*s does: at the limit, and at a zero byte.
func echo(b []byte, limit int) string {
	s := string(b[:min(len(b), limit)])
	s, _, _ = strings.Cut(s, "\x00")
	return s
}
