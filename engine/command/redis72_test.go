package command

import (
	"strings"
	"testing"

	"godwit/engine/resp"
	"godwit/engine/store"
)

// sinceRedis72 is what Redis 7.2 answers otherwise than the 7.0 that TestAgainstRedis runs against, each with its source: a pull request
// of redis/redis that its release notes name, or the history that the documentation of the command gives. What concerns connections and
// the cluster stands beside the commands that the node carries out itself. An error stands for its text.
var sinceRedis72 = []struct {
	source string
	setup  []string
	want   map[string]string // replies in version 2 of the protocol
	want3  map[string]string // those that differ in version 3
}{
	{
		source: "#11235: WITHSCORE of ZRANK and ZREVRANK; history of ZRANK",
		setup:  []string{"ZADD z 1 a 2.5 b", "SET s v"},
		want: map[string]string{
			"ZRANK z a":                 "0",
			"ZRANK z b WITHSCORE":       `[1 "2.5"]`,
			"ZREVRANK z b withscore":    `[0 "2.5"]`,
			"ZRANK z x WITHSCORE":       "(nil)",
			"ZREVRANK none x WITHSCORE": "(nil)",
			"ZRANK z b WITHSCORES":      errSyntax,
			"ZRANK s b WITHSCORES":      errSyntax,
			"ZRANK s b WITHSCORE":       errWrongType,
			"ZRANK z b WITHSCORE 1":     "ERR wrong number of arguments for 'zrank' command",
			"ZREVRANK z b WITHSCORE 1":  "ERR wrong number of arguments for 'zrevrank' command",
			"ZREVRANK z":                "ERR wrong number of arguments for 'zrevrank' command",
		},
		want3: map[string]string{"ZRANK z b WITHSCORE": "[1 2.5]", "ZREVRANK z b withscore": "[0 2.5]"},
	},
	{
		source: "#12167: LPOS refuses the one rank that has no negative",
		setup:  []string{"RPUSH l a b a"},
		want: map[string]string{
			"LPOS l a RANK -9223372036854775808":         errNotLong,
			"LPOS l a RANK -9223372036854775808 COUNT 0": errNotLong,
			"LPOS l a RANK -9223372036854775807":         "(nil)",
			"LPOS l a RANK 9223372036854775807":          "(nil)",
			"LPOS l a RANK -2":                           "0",
		},
	},
	{
		source: "#10587: numbers have the fewest digits that read back as the same number, not 17",
		setup: []string{
			"ZADD z 0.1 a 1e3 b 3.0 c 1e16 d inf e -INF f 0x1p-1 g 0x10 h 1e-5 i 1e-9 j 1e17 k 9007199254740993 l 2.2250738585072014e-308 m -0 n 3.14159265358979 o 1e21 p",
			"HSET h f 0.1",
		},
		want: map[string]string{
			"ZSCORE z a": `"0.1"`, "ZSCORE z b": `"1000"`, "ZSCORE z c": `"3"`, "ZSCORE z d": `"10000000000000000"`, "ZSCORE z e": `"inf"`,
			"ZSCORE z f": `"-inf"`, "ZSCORE z g": `"0.5"`, "ZSCORE z h": `"16"`, "ZSCORE z i": `"0.00001"`, "ZSCORE z j": `"1e-9"`,
			"ZSCORE z k": `"100000000000000000"`, "ZSCORE z l": `"9007199254740992"`, "ZSCORE z m": `"2.2250738585072014e-308"`,
			"ZSCORE z n": `"0"`, "ZSCORE z o": `"3.14159265358979"`, "ZSCORE z p": `"1e+21"`,
			"ZINCRBY z 0.2 a":         `"0.30000000000000004"`,
			"ZMSCORE z b none":        `["1000" (nil)]`,
			"ZRANGE z 2 2 WITHSCORES": `["m" "2.2250738585072014e-308"]`,
		},
		want3: map[string]string{
			"ZSCORE z a": "0.1", "ZSCORE z b": "1000", "ZSCORE z c": "3", "ZSCORE z d": "10000000000000000", "ZSCORE z e": "inf",
			"ZSCORE z f": "-inf", "ZSCORE z g": "0.5", "ZSCORE z h": "16", "ZSCORE z i": "0.00001", "ZSCORE z j": "1e-9",
			"ZSCORE z k": "100000000000000000", "ZSCORE z l": "9007199254740992", "ZSCORE z m": "2.2250738585072014e-308",
			"ZSCORE z n": "0", "ZSCORE z o": "3.14159265358979", "ZSCORE z p": "1e+21",
			"ZINCRBY z 0.2 a":         "0.30000000000000004",
			"ZMSCORE z b none":        "[1000 (nil)]",
			"ZRANGE z 2 2 WITHSCORES": `[["m" 2.2250738585072014e-308]]`,
		},
	},
	{
		source: "#10587 leaves HINCRBYFLOAT and INCRBYFLOAT with 17 digits of a long double",
		want: map[string]string{
			"HINCRBYFLOAT h f 0.1": `"0.1"`,
			"INCRBYFLOAT s 3.0e3":  `"3000"`,
			"INCRBYFLOAT t 0.1":    `"0.1"`,
		},
	},
	{
		source: "#11290 and #11303: small sets and lists are listpacks, which OBJECT ENCODING names",
		setup:  []string{"SADD s a b", "RPUSH l a b", "HSET h f v", "ZADD z 1 a"},
		want: map[string]string{
			"OBJECT ENCODING s": `"listpack"`, "OBJECT ENCODING l": `"listpack"`, "OBJECT ENCODING h": `"listpack"`, "OBJECT ENCODING z": `"listpack"`,
			"OBJECT ENCODING none": "(nil)",
		},
	},
	{
		source: "#11290: RESTORE takes sets that are listpacks, of RDB version 11",
		setup:  []string{`RESTORE set 0 "\x14\x0d\x0d\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff\x0b\x00\x0a\xec\x0a\xb4I\xa3\xd6T"`},
		want:   map[string]string{"SCARD set": "2", "SISMEMBER set a": "1", "SISMEMBER set b": "1"},
	},
	{
		source: "8.0 and not 7.2 (#11734, #12394): BITCOUNT and BITPOS look at options only if there is a key",
		setup:  []string{"SET s a"},
		want:   map[string]string{"BITCOUNT none 0": "0", "BITCOUNT none 0 x BOGUS": "0", "BITCOUNT s 0": errSyntax, "BITPOS none 0 0 1 hello": "0", "BITPOS s 0 0 1 hello": errSyntax},
	},
}

func TestSinceRedis72(t *testing.T) {
	for _, version := range []resp.Version{resp.V2, resp.V3} {
		for _, c := range sinceRedis72 {
			for request, want := range c.want {
				l := openLocal(t, version, fixed(1), &store.Sim{Memory: true})
				for _, s := range c.setup {
					if v := l.do(t, splitArgs(t, s)...); v.Kind == resp.ErrorKind {
						t.Fatalf("%s: %s", s, v)
					}
				}
				if version == resp.V3 && c.want3[request] != "" {
					want = c.want3[request]
				}
				v := l.do(t, strings.Fields(request)...)
				if got := v.String(); got != want && got != "(error) "+want {
					t.Errorf("RESP%d, %s\n%s: got %s, want %s", version, c.source, request, got, want)
				}
				if request == "ZRANK z x WITHSCORE" && version == resp.V2 && string(l.out.Bytes()) != "*-1\r\n" {
					t.Errorf("no rank with its score is %q", l.out.Bytes())
				}
				l.close(t)
			}
		}
	}
}
