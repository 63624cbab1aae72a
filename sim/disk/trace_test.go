package disk_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/sim/disk"
)

func TestOps(t *testing.T) {
	var log strings.Builder
	f := disk.New(disk.Options{OnOp: func(o disk.Op) { log.WriteString(o.String() + "\n") }})
	check(t, f.MkdirAll("d/e", 0o755))
	put(t, f, "d/1", "abc")
	overwrite(t, f, "d/1", "BCD", 1)
	check(t, f.Link("d/1", "d/2"))
	check(t, f.Rename("d/2", "d/3"))
	file, err := f.ReuseForWrite("d/1", "d/4.log", vfs.WriteCategoryUnspecified)
	check(t, err)
	f.IgnoreLogSync(true)
	check(t, file.Sync())
	f.IgnoreLogSync(false)
	check(t, f.Remove("d/3"))
	l, err := f.Lock("d/LOCK")
	check(t, err)
	check(t, l.Close())
	syncDir(t, f, "d")
	_ = get(t, f, "d/4.log")
	want(t, "trace", log.String(), `1 mkdir /d
2 mkdir /d/e
3 create /d/1
4 write /d/1 [0,+3) 78af5f94892f3950
5 sync /d/1
6 write /d/1 [1,+3) 0a3ec36bc75f6362
7 link /d/1 /d/2
8 rename /d/2 /d/3
9 reuse /d/1 /d/4.log
10 sync-ignored /d/4.log
11 lock /d/LOCK
12 sync-dir /d
`)
	got := f.Counters()
	got.Reads = 0 // how the reader cuts its reads is its affair
	want(t, "counters", got, disk.Counters{
		Ops: 12, Writes: 2, WrittenBytes: 6, ReadBytes: 4, Syncs: 1, SyncsIgnored: 1, DirSyncs: 1, Removes: 1,
	})
	for k := disk.OpCreate; k <= disk.OpSyncIgnored; k++ {
		if strings.HasPrefix(k.String(), "OpKind") {
			t.Errorf("kind %d has no name", k)
		}
	}
	want(t, "an unknown kind", disk.OpKind(99).String(), "OpKind(99)")
}

// chunk is one of Pebble's log, with a log number and a synced offset.
func chunk(checksum, number uint32, synced uint64, payload string) string {
	b := binary.LittleEndian.AppendUint32(nil, checksum)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, 9)
	b = binary.LittleEndian.AppendUint32(b, number)
	b = binary.LittleEndian.AppendUint64(b, synced)
	return string(b) + payload
}

// TestHashLeavesOutWhatVaries shows which bytes of logs and manifests are hashed.
func TestHashLeavesOutWhatVaries(t *testing.T) {
	hash := func(name, content string) (h uint64) {
		f := disk.New(disk.Options{OnOp: func(o disk.Op) {
			if o.Kind == disk.OpWrite {
				h = o.Hash
			}
		}})
		put(t, f, name, content)
		return h
	}
	block := strings.Repeat("x", 32<<10-19)
	for _, c := range []struct {
		what, a, b string
		equal      bool
	}{
		{"checksum and synced offset", chunk(1, 7, 3, "payload"), chunk(2, 7, 4, "payload"), true},
		{"those of a second chunk", chunk(1, 7, 3, "payload") + chunk(1, 7, 0, "q"), chunk(1, 7, 3, "payload") + chunk(9, 7, 9, "q"), true},
		{"those of the second block", chunk(1, 7, 3, block) + chunk(1, 7, 0, "q"), chunk(1, 7, 3, block) + chunk(9, 7, 9, "q"), true},
		{"a cut chunk", chunk(1, 7, 3, "p") + chunk(1, 7, 0, "12345")[:22], chunk(1, 7, 3, "p") + chunk(2, 7, 1, "12345")[:22], true},
		{"payload", chunk(1, 7, 3, "payload"), chunk(1, 7, 3, "paYload"), false},
		{"payload of the second chunk", chunk(1, 7, 3, "p") + chunk(1, 7, 3, "q"), chunk(1, 7, 3, "p") + chunk(1, 7, 3, "Q"), false},
		{"payload of the second block", chunk(1, 7, 3, block) + chunk(1, 7, 0, "q"), chunk(1, 7, 3, block) + chunk(1, 7, 0, "Q"), false},
		{"log number", chunk(1, 7, 3, "payload"), chunk(1, 8, 3, "payload"), false},
		{"length", chunk(1, 7, 3, "p") + "\x00", chunk(1, 7, 3, "p"), false},
		{"no log of this format", "something else", "something elsE", false},
	} {
		if (hash("1.log", c.a) == hash("1.log", c.b)) != c.equal {
			t.Errorf("%s: equal hashes are %v", c.what, !c.equal)
		}
		if c.a != c.b && hash("1.sst", c.a) == hash("1.sst", c.b) {
			t.Errorf("%s: a table is not hashed whole", c.what)
		}
	}
	want(t, "a manifest", hash("MANIFEST-000001", "content"), 0)
}
