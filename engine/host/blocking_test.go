package host

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/engine/host/redistest"
	"godwit/engine/resp"
)

// quiet is how long a socket is read on that should have nothing more to say.
const quiet = 2 * time.Millisecond

// blockingScripts are what several clients do one after another. Behind each command both servers are given time to answer
// whom they will, with "later" before it as long as it takes to answer that client. ID:a stands for the id of client a.
var blockingScripts = map[string]string{
	"first come, first served": `
		a BLPOP k 0
		b BLPOP k l 0
		c BRPOP l k 0
		p RPUSH k 1 2
		p RPUSH l 3
		p LLEN k`,
	"one push serves several": `
		a BLPOP k 0
		b BRPOP k 0
		c BLPOP k 0
		p RPUSH k 1 2 3 4
		p LRANGE k 0 -1`,
	"something is there": `
		p RPUSH k 1 2
		a BLPOP none k 0
		a BRPOP k none 0
		p EXISTS k`,
	"a move serves the next": `
		a BLMOVE k l LEFT RIGHT 0
		b BLPOP l 0
		p RPUSH k x
		p EXISTS k l
		a BRPOPLPUSH k k 0
		p RPUSH k y
		p LRANGE k 0 -1`,
	"several at once": `
		a BLMPOP 0 2 k l LEFT COUNT 2
		p RPUSH l 1 2 3
		p LRANGE l 0 -1`,
	"a key of another type": `
		a BLPOP k 0
		p SET k text
		p DEL k
		p RPUSH k x
		p SET s text
		a BLPOP s 0
		a BLMOVE s l LEFT LEFT 0
		p RPUSH m x
		a BLMOVE m s LEFT LEFT 0
		p LRANGE m 0 -1`,
	"the target of a move has another type": `
		a BLMOVE k l LEFT LEFT 0
		b BLPOP k 0
		p SET l text
		p RPUSH k x`,
	"made otherwise than by a push": `
		p RPUSH m 1 2
		a BLPOP k 0
		p RENAME m k
		p LRANGE k 0 -1
		b BLPOP l 0
		p COPY k l
		p EXISTS l`,
	"within a transaction": `
		a BLPOP k 0
		p MULTI
		p RPUSH k 1 2
		p LPOP k
		p BLPOP none 0
		p BRPOP k 0
		p RPUSH k 3
		p EXEC
		p EXISTS k`,
	"pushed and removed in one transaction": `
		a BLPOP k 0
		p MULTI
		p RPUSH k 1
		p DEL k
		p EXEC
		p RPUSH k 2`,
	"in a transaction nothing waits": `
		a MULTI
		a BLPOP k 0
		a BLMOVE k l LEFT LEFT 0
		a BRPOPLPUSH k l 0
		a BLMPOP 0 1 k LEFT
		a EXEC`,
	"sorted sets": `
		a BZPOPMIN z 0
		b BZPOPMAX z y 0
		c BZMPOP 0 2 y z MAX COUNT 2
		p ZADD z 1 low 2 middle 3 high 4 higher
		p ZADD y 2.5 x
		p ZRANGE z 0 -1 WITHSCORES
		p ZADD y 7 seven 8 eight
		a BZPOPMAX none y 0
		b BZMPOP 0 1 y MIN
		p EXISTS y z`,
	"sorted sets made otherwise": `
		a BZPOPMIN k 0
		p RPUSH k x
		p DEL k
		p ZINCRBY k 2 m
		a BZPOPMIN k 0
		p ZADD other 1 a 2 b
		p ZRANGESTORE k other 0 0
		a BZPOPMAX k 0
		p ZUNIONSTORE k 1 other WEIGHTS 2
		p ZRANGE k 0 -1 WITHSCORES
		p SET s text
		a BZPOPMIN s 0
		a BZMPOP 0 1 s MIN`,
	"sorted sets, wrong, late and in a transaction": `
		a BZPOPMIN k x
		a BZPOPMIN k -1
		a BZMPOP 0 0 k MIN
		a BZMPOP x 0 k MIN
		a BZMPOP x 1 k MIN
		a BZMPOP 0 1 k LEFT
		a BZMPOP 0 1 k MIN COUNT 0
		a BZMPOP 0 3 k MIN
		later a BZPOPMAX k 0.01
		later a BZMPOP 0.01 1 k MIN
		a MULTI
		a BZPOPMIN k 0
		a BZMPOP 0 1 k MAX
		a ZADD k 1 m 2 n
		a BZPOPMIN k 0
		a BZMPOP 0 1 k MAX
		a EXEC`,
	"unblocked": `
		a BLPOP k 0
		b CLIENT UNBLOCK ID:a
		a BLPOP k 0
		b CLIENT UNBLOCK ID:a ERROR
		a BLMOVE k l LEFT LEFT 0
		b CLIENT UNBLOCK ID:a TIMEOUT
		b CLIENT UNBLOCK ID:a
		p RPUSH k x
		p LRANGE k 0 -1`,
	"timeouts": `
		later a BLPOP k 0.01
		later a BLMOVE k l LEFT LEFT 0.01
		later a BRPOPLPUSH k l 0.01
		later a BLMPOP 0.01 1 k LEFT
		a BLPOP k -1
		a BLPOP k x
		a BLPOP k nan
		a BLMPOP 0 0 k LEFT
		a BLMPOP 0 1 k UP
		a BLMOVE k l UP LEFT 0`,
	"commands behind one that waits": `
		a BLPOP k 0
		a PING
		a BLPOP k 0
		p RPUSH k 1
		p RPUSH k 2`,
	"watched": `
		a BLPOP k 0
		b WATCH k
		b MULTI
		b PING
		p RPUSH k 1
		b EXEC`,
	"one that waits is killed": `
		a BLPOP k 0
		b BLPOP k 0
		p CLIENT KILL ID ID:a
		p RPUSH k 1`,
}

// server is a server under comparison, and the clients of a script.
type server struct {
	addr    string
	clients map[string]*asker
	ids     map[string]string // of the clients, as the server says
	early   []string          // answers that play has waited for
}

func (s *server) client(t *testing.T, name string) *asker {
	if s.clients[name] == nil {
		s.clients[name] = connect(t, s.addr)
	}
	return s.clients[name]
}

// play sends one line of a script.
func (s *server) play(t *testing.T, line string) {
	t.Helper()
	line, later := strings.CutPrefix(line, "later ")
	fields := strings.Fields(line)
	c := s.client(t, fields[0])
	for i, f := range fields {
		if name, ok := strings.CutPrefix(f, "ID:"); ok {
			fields[i] = s.ids[name]
		}
	}
	c.send(fields[1:]...)
	if later {
		v, ok := c.receive(5 * time.Second)
		if !ok {
			t.Errorf("%s is not answered", line)
		}
		s.early = append(s.early, v.String())
	}
	for range 2 { // after the second, the server has gone once around since the command
		s.client(t, "sync").do("PING")
	}
}

// answers collects what was answered to anybody: at least some replies, if they come in time.
func (s *server) answers(least int) (text string, count int) {
	end := time.Now().Add(5 * time.Second)
	replies := map[string][]string{"early": s.early}
	s.early = nil
	for round := 0; round == 0 || count < least && time.Now().Before(end); round++ {
		for _, name := range []string{"a", "b", "c", "p"} {
			for {
				v, ok := s.clients[name].receive(quiet)
				if !ok {
					break
				}
				replies[name] = append(replies[name], v.String())
				count++
			}
		}
	}
	return fmt.Sprint(replies), count
}

// TestBlockingAgainstRedis plays the scripts to a real Redis and to this server, and compares who is answered what, when, in both
// versions of the protocol.
func TestBlockingAgainstRedis(t *testing.T) {
	redis, ok := redistest.Start(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so waiting for keys was not compared with a real Redis")
		return
	}
	godwit := start(t, nil).Addr().String()
	for name, script := range blockingScripts {
		for _, version := range []resp.Version{resp.V2, resp.V3} {
			t.Run(fmt.Sprintf("%s in version %d", name, version), func(t *testing.T) {
				var servers []*server
				for _, addr := range []string{godwit, redis} {
					servers = append(servers, &server{addr: addr, clients: map[string]*asker{}, ids: map[string]string{}})
				}
				for _, s := range servers {
					for _, who := range []string{"a", "b", "c", "p"} {
						c := s.client(t, who)
						c.do("HELLO", strconv.Itoa(int(version)))
						s.ids[who] = strconv.FormatInt(c.do("CLIENT", "ID").Int, 10)
					}
					s.clients["p"].do("FLUSHALL")
					defer func() {
						for _, c := range s.clients {
							_ = c.nc.Close()
						}
					}()
				}
				for line := range strings.Lines(script) {
					if line = strings.TrimSpace(line); line == "" {
						continue
					}
					for _, s := range servers {
						s.play(t, line)
					}
					want, count := servers[1].answers(0)
					got, _ := servers[0].answers(count)
					if got != want {
						t.Errorf("%s\n got %s\nRedis says %s", line, got, want)
					}
				}
			})
		}
	}
}

// TestStressBlockingLists: what is pushed onto lists is taken exactly once, by clients that wait on one list or several, over
// sockets.
func TestStressBlockingLists(t *testing.T) {
	s := start(t, nil)
	const lists, clients, each = 3, 10, 40
	list := func(i int) string { return "list" + strconv.Itoa(i) }
	got := make(chan string, clients*each)
	for i := range clients {
		go func() {
			c, r := connect(t, s.Addr().String()), rand.New(rand.NewPCG(3, uint64(i)))
			for range each {
				args := []string{"BLPOP", list(0), list(1), list(2), "0"}
				r.Shuffle(lists, func(i, j int) { args[1+i], args[1+j] = args[1+j], args[1+i] })
				v := c.do(args...)
				if len(v.Elems) != 2 {
					t.Errorf("BLPOP answered %s", v)
					return
				}
				got <- v.Elems[1].Str
			}
		}()
	}
	p, r := connect(t, s.Addr().String()), rand.New(rand.NewPCG(4, 0))
	for n := 0; n < clients*each; {
		args := []string{"RPUSH", list(r.IntN(lists))}
		for range min(1+r.IntN(5), clients*each-n) {
			args = append(args, strconv.Itoa(n))
			n++
		}
		p.do(args...)
	}
	seen := map[string]bool{}
	for range clients * each {
		select {
		case v := <-got:
			if seen[v] {
				t.Fatalf("%s was taken twice", v)
			}
			seen[v] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("%d of %d were taken", len(seen), clients*each)
		}
	}
}
