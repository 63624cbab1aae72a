package host

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"godwit/engine/host/redistest"
)

var operations = flag.Int("operations", 5000, "how many random commands of several clients to compare with a real Redis")

// transactionCommand draws a command of a client: of transactions, on few keys, sometimes wrong.
func transactionCommand(r *rand.Rand) []string {
	key := func() string { return []string{"a", "b", "{a}c", "h"}[r.IntN(4)] }
	switch r.IntN(28) {
	case 0, 1, 2:
		return []string{"MULTI"}
	case 3, 4, 5, 6:
		return []string{"EXEC"}
	case 7:
		return []string{"DISCARD"}
	case 8, 9, 10:
		return []string{"WATCH", key()}
	case 11:
		return []string{"WATCH", key(), key()}
	case 12:
		return []string{"UNWATCH"}
	case 13, 14:
		return []string{"SET", key(), strconv.Itoa(r.IntN(3))}
	case 15:
		return []string{"INCR", key()}
	case 16:
		return []string{"GET", key()}
	case 17:
		return []string{"DEL", key(), key()}
	case 18:
		return []string{"HSET", "h", strconv.Itoa(r.IntN(2)), strconv.Itoa(r.IntN(2))}
	case 19:
		return []string{"HDEL", "h", strconv.Itoa(r.IntN(2))}
	case 20:
		return []string{"HGET", "h", strconv.Itoa(r.IntN(2))}
	case 21:
		return []string{"RENAME", key(), key()}
	case 22:
		return [][]string{{"NOSUCH", "x"}, {"SET", "a"}, {"EXEC", "x"}, {"WATCH"}, {"MULTI", "1"}, {"RESET"}, {"FLUSHALL"}}[r.IntN(7)]
	case 23:
		return [][]string{{"EXPIRE", key(), "1000"}, {"PERSIST", key()}, {"EXPIRE", key(), "-1"}}[r.IntN(3)]
	case 24:
		return [][]string{{"PING"}, {"ECHO", "x"}, {"SELECT", "0"}, {"SELECT", "7"}, {"CLIENT", "GETNAME"}, {"CLIENT", "SETNAME", "n"}}[r.IntN(6)]
	case 25:
		return []string{"MSET", key(), "5", key(), "6"}
	case 26:
		return [][]string{{"DBSIZE"}, {"EXISTS", key(), key()}, {"WAIT", "0", "0"}, {"TYPE", key()}, {"CLIENT", "UNBLOCK", "123456"}}[r.IntN(5)]
	default:
		return []string{"SADD", key(), "m"}
	}
}

// TestTransactionsAgainstRedis runs random commands of several clients, with transactions and watches, against a real Redis and
// this server, over sockets, in both versions of the protocol, and compares each reply.
func TestTransactionsAgainstRedis(t *testing.T) {
	redis, ok := redistest.Start(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so transactions were not compared with a real Redis")
		return
	}
	godwit := start(t, nil).Addr().String()
	const commands, clients = 120, 3
	runs := *operations / commands
	executed, refused := 0, 0
	for seed := range runs {
		r := rand.New(rand.NewPCG(7, uint64(seed)))
		var ours, theirs [clients]*asker
		for i := range clients {
			ours[i], theirs[i] = connect(t, godwit), connect(t, redis)
			if i%2 == 1 {
				ours[i].do("HELLO", "3")
				theirs[i].do("HELLO", "3")
			}
		}
		for _, c := range []*asker{ours[0], theirs[0]} {
			c.do("FLUSHALL")
		}
		var log strings.Builder
		for range commands {
			i := r.IntN(clients)
			args := transactionCommand(r)
			fmt.Fprintf(&log, "\n%d: %s", i, strings.Join(args, " "))
			got, want := ours[i].do(args...).String(), theirs[i].do(args...).String()
			if got != want {
				t.Fatalf("run %d: %q: got %s, Redis says %s, after%s", seed, args, got, want, log.String())
			}
			if args[0] == "EXEC" && len(args) == 1 {
				if strings.HasPrefix(want, "[") {
					executed++
				} else if want == "(nil)" {
					refused++
				}
			}
		}
		for i := range clients {
			_ = ours[i].nc.Close()
			_ = theirs[i].nc.Close()
		}
	}
	if executed < runs || refused == 0 {
		t.Errorf("%d transactions were executed and %d refused for a watched key: too few to say much", executed, refused)
	}
	t.Logf("%d transactions executed, %d refused for a watched key", executed, refused)
}
