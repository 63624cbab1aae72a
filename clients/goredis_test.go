package clients

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience bounds what a test waits for. Nothing that is waited for takes so long.
const patience = 60 * time.Second

// goRedis runs the scenarios with go-redis, whose defaults are kept but for what a scenario is about.
type goRedis struct {
	*place
	ctx context.Context
}

// runGoRedis runs all the scenarios, each as a subtest.
func runGoRedis(t *testing.T, p *place) result {
	t.Helper()
	g := &goRedis{place: p, ctx: t.Context()}
	one := func(run func(*testing.T, *redis.Client)) func(*testing.T) {
		return func(t *testing.T) {
			c := redis.NewClient(&redis.Options{Addr: p.Single})
			defer c.Close()
			run(t, c)
		}
	}
	all := func(run func(*testing.T, *redis.ClusterClient)) func(*testing.T) {
		return func(t *testing.T) {
			c := g.cluster()
			defer c.Close()
			run(t, c)
		}
	}
	runs := map[string]func(*testing.T){
		"connect": g.connect, "resp3": g.resp3, "auth": g.auth,
		"strings": one(g.strings), "bitmaps": one(g.bitmaps), "hashes": one(g.hashes), "lists": one(g.lists),
		"sets": one(g.sets), "sortedsets": one(g.sortedSets), "expiry": one(g.expiry),
		"pipeline": one(g.pipeline), "transaction": one(g.transaction), "watch": one(g.watch),
		"blockingwoken": one(g.blockingWoken), "blockingtimeout": one(g.blockingTimeout), "scan": one(g.scan),
		"binary": one(g.binary), "large": one(g.large), "errors": one(g.errors),

		"discover": all(g.discover), "spread": all(g.spread), "hashtags": all(g.hashTags), "crossslot": all(g.crossSlot),
		"clusterpipeline": all(g.clusterPipeline), "clustertransaction": all(g.clusterTransaction),
		"moves": all(g.moves), "movespipeline": all(g.movesPipeline), "movestransaction": all(g.movesTransaction),
		"movesblocking": all(g.movesBlocking),
	}
	var list []outcome
	for _, tb := range tables {
		for _, s := range tb.scenarios {
			o := outcome{Scenario: s.id, OK: true}
			if runs[s.id] == nil || !t.Run(s.id, runs[s.id]) {
				o.OK, o.Error = false, "see the test"
			}
			list = append(list, o)
		}
	}
	r, err := answers("go-redis", redis.Version(), list)
	if err != nil {
		t.Error(err)
	}
	return r
}

// is returns a check that a reply is what is wanted, for is(t, want)(client.Command(…).Result()).
func is[T any](t *testing.T, want T) func(T, error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v and %v, want %+v", got, err, want)
		}
	}
}

// refused returns a check that a command was refused by an error of the server that begins so.
func refused[T any](t *testing.T, prefix string) func(T, error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		var own redis.Error
		if !errors.As(err, &own) || !strings.HasPrefix(own.Error(), prefix) {
			t.Fatalf("got %+v and %v, want the error %s", got, err, prefix)
		}
	}
}

func (g *goRedis) connect(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: g.Single, Protocol: 2, ClientName: "of-go"})
	defer c.Close()
	is(t, "PONG")(c.Ping(g.ctx).Result())
	is(t, "of-go")(c.ClientGetName(g.ctx).Result())
	conn := c.Conn()
	defer conn.Close()
	is(t, "OK")(conn.Select(g.ctx, 0).Result())
	refused[string](t, "ERR DB index is out of range")(conn.Select(g.ctx, 1).Result())
	info, err := c.ClientInfo(g.ctx).Result()
	if err != nil || info.LibVer != redis.Version() || !strings.HasPrefix(info.LibName, "go-redis") {
		t.Fatalf("CLIENT INFO: %+v and %v", info, err)
	}
	line, err := c.Do(g.ctx, "CLIENT", "INFO").Text()
	if err != nil || !strings.Contains(line, " resp=2 ") {
		t.Fatalf("CLIENT INFO: %q and %v", line, err)
	}
}

func (g *goRedis) resp3(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: g.Single, Protocol: 3})
	defer c.Close()
	line, err := c.Do(g.ctx, "CLIENT", "INFO").Text()
	if err != nil || !strings.Contains(line, " resp=3 ") {
		t.Fatalf("CLIENT INFO: %q and %v", line, err)
	}
	is(t, int64(2))(c.HSet(g.ctx, "go:resp3:h", "a", "1", "b", "2").Result())
	is[any](t, map[any]any{"a": "1", "b": "2"})(c.Do(g.ctx, "HGETALL", "go:resp3:h").Result())
	is(t, int64(1))(c.ZAdd(g.ctx, "go:resp3:z", redis.Z{Score: 1.5, Member: "m"}).Result())
	is[any](t, 1.5)(c.Do(g.ctx, "ZSCORE", "go:resp3:z", "m").Result())
	if _, err := c.Get(g.ctx, "go:resp3:none").Result(); !errors.Is(err, redis.Nil) {
		t.Fatalf("a key that is not there: %v", err)
	}
}

func (g *goRedis) auth(t *testing.T) {
	with := func(password string) (string, error) {
		c := redis.NewClient(&redis.Options{Addr: g.Secured, Password: password})
		defer c.Close()
		return c.Ping(g.ctx).Result()
	}
	is(t, "PONG")(with(g.Password))
	refused[string](t, "WRONGPASS")(with("another"))
	refused[string](t, "NOAUTH")(with(""))
}

func (g *goRedis) strings(t *testing.T, c *redis.Client) {
	is(t, "OK")(c.Set(g.ctx, "go:s", "hello", 0).Result())
	is(t, "hello")(c.Get(g.ctx, "go:s").Result())
	is(t, int64(11))(c.Append(g.ctx, "go:s", " world").Result())
	is(t, "world")(c.GetRange(g.ctx, "go:s", 6, -1).Result())
	is(t, false)(c.SetNX(g.ctx, "go:s", "no", 0).Result())
	is(t, int64(42))(c.IncrBy(g.ctx, "go:n", 42).Result())
	is(t, 42.5)(c.IncrByFloat(g.ctx, "go:n", 0.5).Result())
	is(t, "OK")(c.MSet(g.ctx, "go:m1", "1", "go:m2", "2").Result())
	is(t, []any{"1", nil, "2"})(c.MGet(g.ctx, "go:m1", "go:none", "go:m2").Result())
	is(t, int64(2))(c.Del(g.ctx, "go:m1", "go:m2", "go:none").Result())
	if _, err := c.Get(g.ctx, "go:m1").Result(); !errors.Is(err, redis.Nil) {
		t.Fatalf("a key that is not there: %v", err)
	}
}

func (g *goRedis) bitmaps(t *testing.T, c *redis.Client) {
	is(t, int64(0))(c.SetBit(g.ctx, "go:bits", 7, 1).Result())
	is(t, int64(0))(c.SetBit(g.ctx, "go:bits", 100, 1).Result())
	is(t, int64(1))(c.GetBit(g.ctx, "go:bits", 100).Result())
	is(t, int64(2))(c.BitCount(g.ctx, "go:bits", nil).Result())
	is(t, int64(7))(c.BitPos(g.ctx, "go:bits", 1).Result())
	is(t, int64(13))(c.BitOpNot(g.ctx, "go:bits:not", "go:bits").Result())
	is(t, []int64{0, 200})(c.BitField(g.ctx, "go:field", "SET", "u8", 8, 200, "GET", "u8", "#1").Result())
}

func (g *goRedis) hashes(t *testing.T, c *redis.Client) {
	is(t, int64(3))(c.HSet(g.ctx, "go:h", "a", "1", "b", "2", "c", "3").Result())
	is(t, map[string]string{"a": "1", "b": "2", "c": "3"})(c.HGetAll(g.ctx, "go:h").Result())
	is(t, []any{"1", nil})(c.HMGet(g.ctx, "go:h", "a", "none").Result())
	is(t, int64(11))(c.HIncrBy(g.ctx, "go:h", "a", 10).Result())
	is(t, int64(1))(c.HDel(g.ctx, "go:h", "b", "none").Result())
	is(t, int64(2))(c.HLen(g.ctx, "go:h").Result())
	is(t, true)(c.HExists(g.ctx, "go:h", "c").Result())
}

func (g *goRedis) lists(t *testing.T, c *redis.Client) {
	is(t, int64(3))(c.RPush(g.ctx, "go:l", "b", "c", "d").Result())
	is(t, int64(4))(c.LPush(g.ctx, "go:l", "a").Result())
	is(t, int64(5))(c.LInsertAfter(g.ctx, "go:l", "b", "x").Result())
	is(t, []string{"a", "b", "x", "c", "d"})(c.LRange(g.ctx, "go:l", 0, -1).Result())
	is(t, int64(2))(c.LPos(g.ctx, "go:l", "x", redis.LPosArgs{}).Result())
	is(t, "d")(c.LMove(g.ctx, "go:l", "go:l2", "RIGHT", "LEFT").Result())
	is(t, []string{"a", "b"})(c.LPopCount(g.ctx, "go:l", 2).Result())
	is(t, int64(2))(c.LLen(g.ctx, "go:l").Result())
}

func (g *goRedis) sets(t *testing.T, c *redis.Client) {
	is(t, int64(3))(c.SAdd(g.ctx, "go:set", "a", "b", "c").Result())
	is(t, int64(1))(c.SAdd(g.ctx, "go:set2", "b").Result())
	is(t, true)(c.SIsMember(g.ctx, "go:set", "a").Result())
	is(t, []bool{true, false})(c.SMIsMember(g.ctx, "go:set", "a", "z").Result())
	members, err := c.SDiff(g.ctx, "go:set", "go:set2").Result()
	slices.Sort(members)
	is(t, []string{"a", "c"})(members, err)
	is(t, int64(1))(c.SInterCard(g.ctx, 0, "go:set", "go:set2").Result())
	is(t, int64(1))(c.SRem(g.ctx, "go:set", "a").Result())
	is(t, int64(2))(c.SCard(g.ctx, "go:set").Result())
}

func (g *goRedis) sortedSets(t *testing.T, c *redis.Client) {
	is(t, int64(3))(c.ZAdd(g.ctx, "go:z", redis.Z{Score: 1, Member: "a"}, redis.Z{Score: 2.5, Member: "b"}, redis.Z{Score: 3, Member: "c"}).Result())
	is(t, []redis.Z{{Score: 1, Member: "a"}, {Score: 2.5, Member: "b"}})(c.ZRangeWithScores(g.ctx, "go:z", 0, 1).Result())
	is(t, []string{"c", "b"})(c.ZRangeArgs(g.ctx, redis.ZRangeArgs{Key: "go:z", Start: "+inf", Stop: "(1", ByScore: true, Rev: true}).Result())
	is(t, 3.5)(c.ZIncrBy(g.ctx, "go:z", 2.5, "a").Result())
	is(t, int64(2))(c.ZRank(g.ctx, "go:z", "a").Result())
	is(t, []redis.Z{{Score: 2.5, Member: "b"}})(c.ZPopMin(g.ctx, "go:z").Result())
	is(t, int64(2))(c.ZCard(g.ctx, "go:z").Result())
}

func (g *goRedis) expiry(t *testing.T, c *redis.Client) {
	is(t, "OK")(c.Set(g.ctx, "go:e", "v", 100*time.Second).Result())
	left, err := c.TTL(g.ctx, "go:e").Result()
	if err != nil || left < 90*time.Second || left > 100*time.Second {
		t.Fatalf("TTL: %v and %v", left, err)
	}
	is(t, true)(c.Persist(g.ctx, "go:e").Result())
	is(t, time.Duration(-1))(c.TTL(g.ctx, "go:e").Result())
	is(t, true)(c.PExpire(g.ctx, "go:e", 30*time.Millisecond).Result())
	for began := time.Now(); c.Exists(g.ctx, "go:e").Val() != 0; {
		if time.Since(began) > patience {
			t.Fatal("it never expires")
		}
	}
	is(t, time.Duration(-2))(c.TTL(g.ctx, "go:e").Result())
	is(t, "OK")(c.Set(g.ctx, "go:e", "v", 0).Result())
	is(t, true)(c.ExpireAt(g.ctx, "go:e", time.Now().Add(-time.Hour)).Result())
	is(t, int64(0))(c.Exists(g.ctx, "go:e").Result())
}

func (g *goRedis) pipeline(t *testing.T, c *redis.Client) {
	cmds, err := c.Pipelined(g.ctx, func(p redis.Pipeliner) error {
		for i := range 10_000 {
			p.IncrBy(g.ctx, fmt.Sprint("go:p:", i%100), int64(i))
		}
		return nil
	})
	if err != nil || len(cmds) != 10_000 {
		t.Fatalf("%d replies and %v", len(cmds), err)
	}
	var sums [100]int64
	for i, cmd := range cmds {
		sums[i%100] += int64(i)
		is(t, sums[i%100])(cmd.(*redis.IntCmd).Result())
	}
}

func (g *goRedis) transaction(t *testing.T, c *redis.Client) {
	var n *redis.IntCmd
	var s *redis.StringCmd
	_, err := c.TxPipelined(g.ctx, func(p redis.Pipeliner) error {
		p.Set(g.ctx, "go:tx", "v", 0)
		n = p.Incr(g.ctx, "go:txn")
		s = p.Get(g.ctx, "go:tx")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	is(t, int64(1))(n.Result())
	is(t, "v")(s.Result())

	cmds, err := c.TxPipelined(g.ctx, func(p redis.Pipeliner) error {
		p.Incr(g.ctx, "go:tx")
		p.Incr(g.ctx, "go:txn")
		return nil
	})
	refused[int64](t, "ERR value is not an integer")(0, err)
	is(t, int64(2))(cmds[1].(*redis.IntCmd).Result())
	is(t, "2")(c.Get(g.ctx, "go:txn").Result())
}

func (g *goRedis) watch(t *testing.T, c *redis.Client) {
	is(t, "OK")(c.Set(g.ctx, "go:w", "1", 0).Result())
	double := func(meanwhile func()) error {
		return c.Watch(g.ctx, func(tx *redis.Tx) error {
			n, err := tx.Get(g.ctx, "go:w").Int()
			if err != nil {
				return err
			}
			meanwhile()
			_, err = tx.TxPipelined(g.ctx, func(p redis.Pipeliner) error { return p.Set(g.ctx, "go:w", 2*n, 0).Err() })
			return err
		}, "go:w")
	}
	if err := double(func() { is(t, "OK")(c.Set(g.ctx, "go:w", "5", 0).Result()) }); !errors.Is(err, redis.TxFailedErr) {
		t.Fatalf("EXEC after a conflict: %v", err)
	}
	is(t, "5")(c.Get(g.ctx, "go:w").Result())
	if err := double(func() {}); err != nil {
		t.Fatal(err)
	}
	is(t, "10")(c.Get(g.ctx, "go:w").Result())
}

// popped is what a blocking read returned.
type popped struct {
	items []string
	err   error
}

// blpop starts a blocking read and returns when the server at an address has blocked it.
func (g *goRedis) blpop(t *testing.T, c redis.Cmdable, addr, key string) <-chan popped {
	t.Helper()
	over := make(chan popped, 1)
	go func() {
		items, err := c.BLPop(g.ctx, patience, key).Result()
		over <- popped{items, err}
	}()
	look := redis.NewClient(&redis.Options{Addr: addr})
	defer look.Close()
	for began := time.Now(); ; {
		list, err := look.ClientList(g.ctx).Result()
		if err != nil || time.Since(began) > patience {
			t.Fatalf("BLPOP does not block: %v\n%s", err, list)
		}
		for line := range strings.Lines(list) {
			if strings.Contains(line, " flags=b ") && strings.Contains(line, " cmd=blpop ") {
				return over
			}
		}
	}
}

func (g *goRedis) blockingWoken(t *testing.T, c *redis.Client) {
	over := g.blpop(t, c, g.Single, "go:b")
	is(t, int64(2))(c.RPush(g.ctx, "go:b", "first", "second").Result())
	got := <-over
	is(t, []string{"go:b", "first"})(got.items, got.err)
	is(t, []string{"second"})(c.LRange(g.ctx, "go:b", 0, -1).Result())
}

func (g *goRedis) blockingTimeout(t *testing.T, c *redis.Client) {
	began := time.Now()
	items, err := c.BLPop(g.ctx, time.Second, "go:none").Result()
	if took := time.Since(began); !errors.Is(err, redis.Nil) || took < time.Second || took > patience {
		t.Fatalf("got %q and %v after %v", items, err, took)
	}
}

func (g *goRedis) scan(t *testing.T, c *redis.Client) {
	const n = 1000
	_, err := c.Pipelined(g.ctx, func(p redis.Pipeliner) error {
		for i := range n {
			p.Set(g.ctx, fmt.Sprint("go:scan:", i), i, 0)
			p.HSet(g.ctx, "go:scanned:h", i, i)
			p.SAdd(g.ctx, "go:scanned:s", i)
			p.ZAdd(g.ctx, "go:scanned:z", redis.Z{Score: float64(i), Member: i})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]struct {
		cmd *redis.ScanCmd
		of  int // items for each key, field or member
	}{
		"SCAN": {c.Scan(g.ctx, 0, "go:scan:*", 100), 1}, "HSCAN": {c.HScan(g.ctx, "go:scanned:h", 0, "", 100), 2},
		"SSCAN": {c.SScan(g.ctx, "go:scanned:s", 0, "", 100), 1}, "ZSCAN": {c.ZScan(g.ctx, "go:scanned:z", 0, "", 100), 2},
	} {
		seen, items := map[string]int{}, s.cmd.Iterator()
		for i := 0; items.Next(g.ctx); i++ {
			if i%s.of == 0 {
				seen[items.Val()]++
			}
		}
		if err := items.Err(); err != nil || len(seen) != n {
			t.Fatalf("%s: %d of %d, and %v", name, len(seen), n, err)
		}
	}
}

// anyBytes is every byte, and what would end a line or begin a reply.
func anyBytes() string {
	var b []byte
	for i := range 256 {
		b = append(b, byte(i))
	}
	return string(b) + "\r\n$-1\r\n\xff\xfe\x00"
}

func (g *goRedis) binary(t *testing.T, c *redis.Client) {
	b := anyBytes()
	is(t, "OK")(c.Set(g.ctx, "go:"+b, b, 0).Result())
	is(t, b)(c.Get(g.ctx, "go:"+b).Result())
	is(t, int64(1))(c.HSet(g.ctx, "go:binary:h", b, b).Result())
	is(t, map[string]string{b: b})(c.HGetAll(g.ctx, "go:binary:h").Result())
	is(t, int64(1))(c.SAdd(g.ctx, "go:binary:s", b).Result())
	is(t, []string{b})(c.SMembers(g.ctx, "go:binary:s").Result())
}

func (g *goRedis) large(t *testing.T, c *redis.Client) {
	b := strings.Repeat(anyBytes(), 8<<20/len(anyBytes())+1)[:8<<20]
	is(t, "OK")(c.Set(g.ctx, "go:large", b, 0).Result())
	got, err := c.Get(g.ctx, "go:large").Result()
	if err != nil || got != b {
		t.Fatalf("%d other bytes, and %v", len(got), err)
	}
	is(t, int64(1))(c.Unlink(g.ctx, "go:large").Result())
}

func (g *goRedis) errors(t *testing.T, c *redis.Client) {
	is(t, int64(1))(c.RPush(g.ctx, "go:wrong", "a").Result())
	refused[string](t, "WRONGTYPE ")(c.Get(g.ctx, "go:wrong").Result())
	refused[any](t, "ERR unknown command ")(c.Do(g.ctx, "NOSUCHCOMMAND").Result())
	is(t, "OK")(c.Set(g.ctx, "go:wrong", "a", 0).Result())
	refused[int64](t, "ERR value is not an integer")(c.Incr(g.ctx, "go:wrong").Result())
	is(t, "PONG")(c.Ping(g.ctx).Result())
}
