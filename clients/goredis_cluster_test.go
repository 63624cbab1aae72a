package clients

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"godwit/engine/slot"
)

// cluster makes a client that has been told of one node.
func (g *goRedis) cluster() *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{g.Nodes[1]}})
}

func (g *goRedis) discover(t *testing.T, c *redis.ClusterClient) {
	var mu sync.Mutex
	var found []string
	err := c.ForEachMaster(g.ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, node.Options().Addr)
		return nil
	})
	slices.Sort(found)
	is(t, slices.Sorted(slices.Values(g.Nodes)))(found, err)
	shards, err := c.ClusterShards(g.ctx).Result()
	if err != nil || len(shards) != 3 {
		t.Fatalf("CLUSTER SHARDS: %+v and %v", shards, err)
	}
	slots := int64(0)
	for _, shard := range shards {
		for _, r := range shard.Slots {
			slots += r.End - r.Start + 1
		}
	}
	is(t, int64(slot.Count))(slots, nil)
}

func (g *goRedis) spread(t *testing.T, c *redis.ClusterClient) {
	for i := range 300 {
		is(t, "OK")(c.Set(g.ctx, fmt.Sprint("go:spread:", i), i, 0).Result())
	}
	for i := range 300 {
		is(t, fmt.Sprint(i))(c.Get(g.ctx, fmt.Sprint("go:spread:", i)).Result())
	}
	for _, addr := range g.Nodes {
		node := redis.NewClient(&redis.Options{Addr: addr})
		defer node.Close()
		keys, err := node.Keys(g.ctx, "go:spread:*").Result()
		if err != nil || len(keys) < 60 || len(keys) > 140 {
			t.Fatalf("%d keys at %s, and %v", len(keys), addr, err)
		}
	}
}

func (g *goRedis) hashTags(t *testing.T, c *redis.ClusterClient) {
	for _, tag := range g.Still {
		k := func(name string) string { return "go:" + tag + name }
		is(t, "OK")(c.MSet(g.ctx, k("a"), "1", k("b"), "2").Result())
		is(t, []any{"1", "2", nil})(c.MGet(g.ctx, k("a"), k("b"), k("none")).Result())
		is(t, int64(2))(c.SAdd(g.ctx, k("s"), "x", "y").Result())
		is(t, int64(2))(c.SUnionStore(g.ctx, k("t"), k("s"), k("none")).Result())
		is(t, "OK")(c.Rename(g.ctx, k("a"), k("c")).Result())
		is(t, int64(2))(c.Del(g.ctx, k("b"), k("c")).Result())
	}
}

func (g *goRedis) crossSlot(t *testing.T, c *redis.ClusterClient) {
	refused[int64](t, "CROSSSLOT ")(c.SUnionStore(g.ctx, "go:"+g.Still[0], "go:"+g.Still[1]).Result())
	refused[string](t, "CROSSSLOT ")(c.Rename(g.ctx, "go:"+g.Still[0], "go:"+g.Still[1]).Result())
}

func (g *goRedis) clusterPipeline(t *testing.T, c *redis.ClusterClient) {
	cmds, err := c.Pipelined(g.ctx, func(p redis.Pipeliner) error {
		for i := range 3000 {
			p.IncrBy(g.ctx, fmt.Sprint("go:p:", i%1000), int64(i))
		}
		return nil
	})
	if err != nil || len(cmds) != 3000 {
		t.Fatalf("%d replies and %v", len(cmds), err)
	}
	var sums [1000]int64
	for i, cmd := range cmds {
		sums[i%1000] += int64(i)
		is(t, sums[i%1000])(cmd.(*redis.IntCmd).Result())
	}
}

func (g *goRedis) clusterTransaction(t *testing.T, c *redis.ClusterClient) {
	for _, tag := range g.Still {
		cmds, err := c.TxPipelined(g.ctx, func(p redis.Pipeliner) error {
			p.Incr(g.ctx, "go:tx:a:"+tag)
			p.IncrBy(g.ctx, "go:tx:b:"+tag, 2)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		is(t, int64(1))(cmds[0].(*redis.IntCmd).Result())
		is(t, int64(2))(cmds[1].(*redis.IntCmd).Result())
	}
}

// whileMoving runs workers until the slots have been to all nodes, with and without a new map, and are back. Each
// worker does its step again and again, which is given how often it has been done and is the only one to touch its keys.
// prefix+tag must then hold the number of steps of the worker that has the tag.
func (g *goRedis) whileMoving(t *testing.T, prefix string, step func(tag string, done int64) error) {
	t.Helper()
	var over atomic.Bool
	var all, begun sync.WaitGroup
	counts := make([]int64, len(g.Tags))
	for i, tag := range g.Tags {
		begun.Add(1)
		all.Go(func() {
			begin := sync.OnceFunc(begun.Done)
			defer begin()
			for !over.Load() {
				if err := step(tag, counts[i]); err != nil {
					t.Errorf("%s, after %d times: %v", tag, counts[i], err)
					return
				}
				counts[i]++
				begin()
			}
		})
	}
	begun.Wait()
	for i := range 3 {
		if err := g.move(i, (i+1)%3, i%2 == 1); err != nil {
			t.Error(err)
			break
		}
	}
	over.Store(true)
	all.Wait()
	c := g.cluster()
	defer c.Close()
	for i, tag := range g.Tags {
		is(t, fmt.Sprint(counts[i]))(c.Get(g.ctx, prefix+tag).Result())
	}
	t.Logf("times that each was done: %d", counts)
}

// wrong is the error of a worker that got another reply than the one that is possible.
func wrong(what string, got, want any) error {
	return fmt.Errorf("%s: got %v, want %v", what, got, want)
}

func (g *goRedis) moves(t *testing.T, c *redis.ClusterClient) {
	g.whileMoving(t, "go:moves:", func(tag string, done int64) error {
		if n, err := c.Incr(g.ctx, "go:moves:"+tag).Result(); err != nil || n != done+1 {
			return wrong("INCR", fmt.Sprint(n, err), done+1)
		}
		if n, err := c.Get(g.ctx, "go:moves:"+tag).Int64(); err != nil || n != done+1 {
			return wrong("GET", fmt.Sprint(n, err), done+1)
		}
		return nil
	})
}

func (g *goRedis) movesPipeline(t *testing.T, c *redis.ClusterClient) {
	g.whileMoving(t, "go:movesp:", func(tag string, done int64) error {
		cmds, err := c.Pipelined(g.ctx, func(p redis.Pipeliner) error {
			p.Incr(g.ctx, "go:movesp:"+tag)
			for _, still := range g.Still {
				p.Incr(g.ctx, "go:movesp:"+tag+still) // in the slot of the tag
				p.Incr(g.ctx, "go:movesp:"+still+tag) // in another, often at another node
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, cmd := range cmds {
			if n := cmd.(*redis.IntCmd).Val(); n != done+1 {
				return wrong(fmt.Sprint("INCR ", i), n, done+1)
			}
		}
		return nil
	})
}

func (g *goRedis) movesTransaction(t *testing.T, c *redis.ClusterClient) {
	g.whileMoving(t, "go:movest:", func(tag string, done int64) error {
		cmds, err := c.TxPipelined(g.ctx, func(p redis.Pipeliner) error {
			p.Incr(g.ctx, "go:movest:"+tag)
			p.RPush(g.ctx, "go:movest:list:"+tag, done)
			return nil
		})
		if err != nil {
			return err
		}
		for i, cmd := range cmds {
			if n := cmd.(*redis.IntCmd).Val(); n != done+1 {
				return wrong(fmt.Sprint("command ", i), n, done+1)
			}
		}
		return nil
	})
}

func (g *goRedis) movesBlocking(t *testing.T, c *redis.ClusterClient) {
	for i := range 3 {
		key := "go:movesb:" + g.Tags[i]
		over := g.blpop(t, c, g.Nodes[i], key)
		if err := g.move(i, (i+1)%3, i == 2); err != nil {
			t.Fatal(err)
		}
		is(t, int64(1))(c.RPush(g.ctx, key, "served").Result())
		got := <-over
		is(t, []string{key, "served"})(got.items, got.err)
	}
}
