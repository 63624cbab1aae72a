package host

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine"
)

// benchSession is a session of a node on the real seams and a file system in memory, so that what is measured is the node.
func benchSession(b *testing.B, cluster bool) *engine.Session {
	b.Helper()
	clock, workers, syncer, peers := NewClock(), NewWorkers(0), StartSyncer(), NewPeers(nil)
	n, err := engine.Open(engine.Options{
		Clock: clock, Peers: peers, Rand: NewRand(), Workers: workers, Syncer: syncer, FS: vfs.NewMem(), Dir: "bench",
		Fatal: func(err error) { panic(err) }, Cluster: cluster, Sync: engine.SyncNever,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		peers.Close()
		clock.Close()
		workers.Close()
		syncer.Close()
		if err := n.Close(); err != nil {
			b.Error(err)
		}
	})
	s, err := n.NewSession(engine.SessionOptions{Remote: "127.0.0.1:1", Local: "127.0.0.1:2", Loopback: true, Deliver: func([]byte) {}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

// benchKeys are enough keys to lie in many slots and fit in the memtable.
const benchKeys = 1 << 12

func benchArgs(name string, values ...string) [][][]byte {
	out := make([][][]byte, benchKeys)
	for i := range out {
		out[i] = [][]byte{[]byte(name), fmt.Appendf(nil, "key:%012d", i)}
		for _, v := range values {
			out[i] = append(out[i], []byte(v))
		}
	}
	return out
}

func benchExecute(b *testing.B, s *engine.Session, commands [][][]byte) {
	b.Helper()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Execute(commands[i%benchKeys])
		s.Flush()
		i++
	}
}

// BenchmarkExecuteSet is one SET of 128 bytes through session, routing, locks, data and store, without the disk.
func BenchmarkExecuteSet(b *testing.B) {
	benchExecute(b, benchSession(b, false), benchArgs("SET", fmt.Sprintf("%0128d", 1)))
}

// BenchmarkExecuteGet is one GET of 128 bytes that are in memory.
func BenchmarkExecuteGet(b *testing.B) {
	s := benchSession(b, false)
	for _, c := range benchArgs("SET", fmt.Sprintf("%0128d", 1)) {
		s.Execute(c)
		s.Flush()
	}
	benchExecute(b, s, benchArgs("GET"))
}

// BenchmarkExecuteRefused is one GET that is answered CLUSTERDOWN, the way of every redirect.
func BenchmarkExecuteRefused(b *testing.B) { benchExecute(b, benchSession(b, true), benchArgs("GET")) }
