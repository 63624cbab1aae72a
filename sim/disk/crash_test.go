package disk_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/sim/disk"
)

// blocks returns n blocks of the byte.
func blocks(n int, b byte) string { return strings.Repeat(string(b), n*disk.BlockBytes) }

// appendTo writes to the end of an existing file, or to that of a new one, and does not sync.
func appendTo(t testing.TB, f vfs.FS, name, content string) vfs.File {
	t.Helper()
	file, err := f.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	check(t, err)
	info, err := file.Stat()
	check(t, err)
	_, err = file.WriteAt([]byte(content), info.Size())
	check(t, err)
	return file
}

func overwrite(t testing.TB, f vfs.FS, name, content string, off int64) {
	t.Helper()
	file, err := f.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	check(t, err)
	_, err = file.WriteAt([]byte(content), off)
	check(t, err)
	check(t, file.Close())
}

func crash(f *disk.FS, seed uint64, keepPercent int) *disk.FS {
	return f.CrashClone(disk.CrashOptions{Seed: seed, KeepPercent: keepPercent})
}

func exists(f vfs.FS, name string) bool {
	_, err := f.Stat(name)
	return err == nil
}

// TestCrashSynced shows invariants 1 and 3 for bytes: what was synced stays, the rest goes at 0 and stays at 100.
func TestCrashSynced(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "grown", "synced")
	put(t, f, "overwritten", blocks(3, 'a')+"tail")
	put(t, f, "filled", "")
	syncDir(t, f, "/")
	check(t, appendTo(t, f, "grown", " and more").Close())
	overwrite(t, f, "overwritten", "XX", disk.BlockBytes-1) // across two blocks
	overwrite(t, f, "overwritten", "end and growth", 3*disk.BlockBytes+2)
	check(t, appendTo(t, f, "filled", blocks(2, 'z')).Close())

	was := crash(f, 1, 0)
	want(t, "grown", get(t, was, "grown"), "synced")
	want(t, "overwritten", get(t, was, "overwritten"), blocks(3, 'a')+"tail")
	want(t, "filled", get(t, was, "filled"), "")
	now := crash(f, 1, 100)
	want(t, "everything", now.String() == f.String(), false) // the synced lengths differ ...
	for _, name := range []string{"grown", "overwritten", "filled"} {
		want(t, name, get(t, now, name), get(t, f, name)) // ... the contents do not
	}
	// What survived is durable.
	want(t, "a second crash", crash(now, 2, 0).String(), now.String())

	// A sync makes the current content durable, whatever was overwritten before.
	file := appendTo(t, f, "overwritten", "")
	check(t, file.Sync())
	want(t, "overwritten", get(t, crash(f, 1, 0), "overwritten"), get(t, f, "overwritten"))
}

// TestCrashNotDurableByOtherMeans shows that nothing but a sync makes bytes durable.
func TestCrashNotDurableByOtherMeans(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "")
	syncDir(t, f, "/")
	file := appendTo(t, f, "a", "x")
	full, err := file.SyncTo(1)
	check(t, err)
	want(t, "SyncTo promises", full, false)
	check(t, file.Close())
	syncDir(t, f, "/")
	want(t, "after SyncTo, Close and a sync of the directory", get(t, crash(f, 1, 0), "a"), "")
}

// TestCrashEntries shows invariants 1 and 3 for directories.
func TestCrashEntries(t *testing.T) {
	f := disk.New(disk.Options{})
	check(t, f.MkdirAll("old", 0o755))
	put(t, f, "kept", "k")
	put(t, f, "old/a", "a")
	syncDir(t, f, "/")
	syncDir(t, f, "/old")

	put(t, f, "old/new", "synced content, unsynced name")
	check(t, f.Link("kept", "linked"))
	check(t, f.MkdirAll("fresh/deep", 0o755))
	put(t, f, "fresh/deep/x", "x")
	syncDir(t, f, "/fresh/deep")
	put(t, f, "kept", "replaced")

	was := crash(f, 1, 0)
	wantNames(t, was, "/", "kept", "old")
	wantNames(t, was, "/old", "a")
	want(t, "kept", get(t, was, "kept"), "k")
	now := crash(f, 1, 100)
	wantNames(t, now, "/", "fresh", "kept", "linked", "old")
	want(t, "kept", get(t, now, "kept"), "replaced")
	want(t, "linked", get(t, now, "linked"), "k")
	want(t, "x", get(t, now, "fresh/deep/x"), "x")

	syncDir(t, f, "/")
	was = crash(f, 1, 0)
	wantNames(t, was, "/", "fresh", "kept", "linked", "old")
	wantNames(t, was, "/fresh") // its own entries were not synced
}

// TestCrashKeepsLinks shows that two names of one file are that in a clone, too, whatever became of its blocks.
func TestCrashKeepsLinks(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", blocks(8, 'a'))
	check(t, f.Link("a", "b"))
	syncDir(t, f, "/")
	overwrite(t, f, "b", blocks(8, 'b'), 0)
	clone := crash(f, 3, 50)
	want(t, "content", get(t, clone, "a"), get(t, clone, "b"))
	overwrite(t, clone, "a", "written to a", 0)
	want(t, "b", get(t, clone, "b")[:12], "written to a")
}

// TestCrashRename shows that a rename that was not synced is there or not, but never in half.
func TestCrashRename(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "CURRENT", "old")
	put(t, f, "tmp", "new")
	syncDir(t, f, "/")
	check(t, f.Rename("tmp", "CURRENT"))
	lost, kept := 0, 0
	for seed := range uint64(200) {
		clone := crash(f, seed, 50)
		switch got := get(t, clone, "CURRENT"); got {
		case "old":
			lost++
			want(t, "tmp", get(t, clone, "tmp"), "new")
		case "new":
			kept++
			want(t, "tmp exists", exists(clone, "tmp"), false)
		default:
			t.Fatalf("CURRENT holds %q", got)
		}
	}
	if lost < 50 || kept < 50 {
		t.Fatalf("of 200 renames %d were lost and %d kept", lost, kept)
	}
	want(t, "at 0", get(t, crash(f, 1, 0), "CURRENT"), "old")
	want(t, "at 100", get(t, crash(f, 1, 100), "CURRENT"), "new")
	syncDir(t, f, "/")
	want(t, "synced", get(t, crash(f, 1, 0), "CURRENT"), "new")
	want(t, "synced, tmp", exists(crash(f, 1, 0), "tmp"), false)
}

// TestCrashOrdersEntries shows that a directory loses its latest changes first, and that Unordered loses any.
func TestCrashOrdersEntries(t *testing.T) {
	f := disk.New(disk.Options{})
	check(t, f.MkdirAll("d", 0o755))
	syncDir(t, f, "/")
	for i := range 8 {
		put(t, f, fmt.Sprintf("d/%d", i), "")
		put(t, f, fmt.Sprintf("%d", i), "")
	}
	lengths, gaps := map[int]bool{}, 0
	for seed := range uint64(300) {
		for _, dir := range []string{"/", "/d"} {
			names, err := crash(f, seed, 70).List(dir)
			check(t, err)
			names = slices.DeleteFunc(names, func(n string) bool { return n == "d" })
			for i, n := range names {
				want(t, "name", n, fmt.Sprint(i))
			}
			lengths[len(names)] = true
		}
		names, err := f.CrashClone(disk.CrashOptions{Seed: seed, KeepPercent: 70, Unordered: true}).List("/d")
		check(t, err)
		if len(names) > 0 && names[len(names)-1] != fmt.Sprint(len(names)-1) {
			gaps++
		}
	}
	want(t, "different numbers of changes kept", len(lengths), 9)
	if gaps < 100 {
		t.Fatalf("only %d of 300 unordered crashes left a gap", gaps)
	}
}

// TestCrashRenameBetweenDirectories shows that it is atomic while neither directory is synced.
func TestCrashRenameBetweenDirectories(t *testing.T) {
	f := disk.New(disk.Options{})
	check(t, f.MkdirAll("from", 0o755))
	check(t, f.MkdirAll("to", 0o755))
	put(t, f, "from/a", "a")
	for _, d := range []string{"/", "/from", "/to"} {
		syncDir(t, f, d)
	}
	put(t, f, "from/x", "")
	put(t, f, "to/y", "")
	check(t, f.Rename("from/a", "to/a"))
	for seed := range uint64(100) {
		for _, unordered := range []bool{false, true} {
			clone := f.CrashClone(disk.CrashOptions{Seed: seed, KeepPercent: 50, Unordered: unordered})
			want(t, "one name", exists(clone, "from/a"), !exists(clone, "to/a"))
		}
	}
	syncDir(t, f, "/to")
	want(t, "new name synced, at 0", exists(crash(f, 1, 0), "to/a"), true)
	want(t, "old name, at 0", exists(crash(f, 1, 0), "from/a"), true)
	syncDir(t, f, "/from")
	want(t, "both synced", exists(crash(f, 1, 0), "from/a"), false)
}

// TestCrashReuse shows that a recycled log that is overwritten shows, after a crash, its old bytes or its new ones.
func TestCrashReuse(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "1.log", blocks(4, 'a'))
	syncDir(t, f, "/")
	file, err := f.ReuseForWrite("1.log", "2.log", vfs.WriteCategoryUnspecified)
	check(t, err)
	_, err = file.Write([]byte(blocks(2, 'b')))
	check(t, err)
	want(t, "lost", get(t, crash(f, 1, 0), "1.log"), blocks(4, 'a'))
	want(t, "kept", get(t, crash(f, 1, 100), "2.log"), blocks(2, 'b')+blocks(2, 'a'))
	syncDir(t, f, "/")
	want(t, "name synced", get(t, crash(f, 1, 0), "2.log"), blocks(4, 'a'))
	check(t, file.Sync())
	want(t, "content synced", get(t, crash(f, 1, 0), "2.log"), blocks(2, 'b')+blocks(2, 'a'))
}

// TestCrashRemoval shows when a removal counts: after Settle as a change like others, before it not at all.
func TestCrashRemoval(t *testing.T) {
	f := disk.New(disk.Options{})
	check(t, f.MkdirAll("d", 0o755))
	for _, name := range []string{"a", "d/b"} {
		put(t, f, name, name)
	}
	syncDir(t, f, "/")
	syncDir(t, f, "/d")
	check(t, f.Remove("a"))
	check(t, f.RemoveAll("d"))
	syncDir(t, f, "/")
	wantNames(t, f, "/")
	for _, keep := range []int{0, 50, 100} {
		wantNames(t, crash(f, 1, keep), "/", "a", "d")
		wantNames(t, crash(f, 1, keep), "/d", "b")
	}
	f.Settle()
	wantNames(t, crash(f, 1, 0), "/", "a", "d")
	wantNames(t, crash(f, 1, 0), "/d", "b")
	wantNames(t, crash(f, 1, 100), "/")
	for _, unordered := range []bool{false, true} {
		outcomes := map[string]bool{}
		for seed := range uint64(100) {
			outcomes[f.CrashClone(disk.CrashOptions{Seed: seed, KeepPercent: 50, Unordered: unordered}).String()] = true
		}
		want(t, "outcomes", len(outcomes), map[bool]int{false: 3, true: 4}[unordered])
	}
	syncDir(t, f, "/")
	wantNames(t, crash(f, 1, 0), "/")

	// A name that is taken again before Settle.
	put(t, f, "a", "1")
	syncDir(t, f, "/")
	check(t, f.Remove("a"))
	put(t, f, "a", "2")
	f.Settle()
	want(t, "lost", get(t, crash(f, 1, 0), "a"), "1")
	want(t, "kept", get(t, crash(f, 1, 100), "a"), "2")
	syncDir(t, f, "/")
	want(t, "synced", get(t, crash(f, 1, 0), "a"), "2")
}

// TestCrashDoesNotSeeRacingRemovals shows invariant 6: the same operations, with removals executed at every possible
// place between two calls of Settle, leave the same after a crash and report the same.
func TestCrashDoesNotSeeRacingRemovals(t *testing.T) {
	run := func(keepPercent, removeAt int) (left, trace string) {
		var log strings.Builder
		f := disk.New(disk.Options{Seed: 9, OnOp: func(o disk.Op) { fmt.Fprintln(&log, o) }})
		put(t, f, "synced", blocks(3, 's'))
		syncDir(t, f, "/")
		put(t, f, "unsynced", blocks(3, 'u'))
		steps := []func(){
			func() { put(t, f, "1", "1") },
			func() { check(t, appendTo(t, f, "1", blocks(3, '1')).Close()) },
			func() { syncDir(t, f, "/") },
			func() { put(t, f, "2", "2") },
			func() { check(t, f.Rename("2", "3")) },
			func() { check(t, f.MkdirAll("d", 0o755)) },
		}
		for i, step := range steps {
			if i == removeAt {
				check(t, f.Remove("synced"))
				check(t, f.Remove("unsynced"))
			}
			step()
		}
		left = crash(f, 4, keepPercent).String()
		f.Settle()
		return left, log.String()
	}
	for _, keep := range []int{0, 50, 100} {
		left, trace := run(keep, -1)
		for at := range 6 {
			l, tr := run(keep, at)
			if l != left || tr != trace {
				t.Fatalf("keep %d, removal before step %d:\n%s\nwithout:\n%s", keep, at, l, left)
			}
		}
	}
}

// mess makes a disk with much that is not synced, in an order that depends on the argument where order must not matter.
func mess(t testing.TB, seed uint64) *disk.FS {
	f := disk.New(disk.Options{Seed: seed})
	for d := range 4 {
		dir := fmt.Sprintf("d%d", d)
		check(t, f.MkdirAll(dir, 0o755))
		for i := range 8 {
			put(t, f, fmt.Sprintf("%s/f%d", dir, i), blocks(4, 'a'+byte(i)))
		}
		if d%2 == 0 {
			syncDir(t, f, dir)
		}
	}
	syncDir(t, f, "/")
	for d := range 4 {
		for i := range 8 {
			name := fmt.Sprintf("d%d/f%d", d, i)
			overwrite(t, f, name, blocks(2, 'A'+byte(i)), 100)
			check(t, appendTo(t, f, name, blocks(3, 'x')).Close())
		}
		check(t, f.Rename(fmt.Sprintf("d%d/f0", d), fmt.Sprintf("d%d/g0", d)))
	}
	return f
}

// TestCrashIsDeterministic shows invariants 4 and 7: 200 crashes with one seed have one outcome, those with 200 seeds have 200.
func TestCrashIsDeterministic(t *testing.T) {
	for _, keep := range []int{0, 1, 50, 99, 100} {
		first := crash(mess(t, 1), 7, keep).String()
		for range 10 {
			f := mess(t, 1)
			for range 20 {
				want(t, "outcome", crash(f, 7, keep).String(), first)
			}
		}
	}
	outcomes := map[string]bool{}
	f := mess(t, 1)
	for seed := range uint64(200) {
		outcomes[crash(f, seed, 50).String()] = true
	}
	want(t, "outcomes of 200 seeds", len(outcomes), 200)
	if crash(mess(t, 1), 7, 50).String() == crash(mess(t, 2), 7, 50).String() {
		t.Fatal("the seed of the disk has no effect")
	}
}

// TestCrashCoinsAreStateless shows invariant 4: what happens elsewhere does not shift the coins of a file.
func TestCrashCoinsAreStateless(t *testing.T) {
	f := mess(t, 1)
	left := get(t, crash(f, 7, 50), "d0/f3")
	for i := range 20 {
		put(t, f, fmt.Sprintf("d0/a%d", i), blocks(i, 'n'))
		check(t, f.Remove(fmt.Sprintf("d%d/f%d", 1+i%3, 1+i/3%7)))
		want(t, "d0/f3", get(t, crash(f, 7, 50), "d0/f3"), left)
		if i%3 == 2 {
			f.Settle()
			put(t, f, fmt.Sprintf("d%d/f%d", 1+i%3, 1+i/3%7), "again")
		}
		for j := range 3 {
			name := fmt.Sprintf("d%d/f%d", 1+j, 1+(i+1)/3%7)
			if !exists(f, name) {
				put(t, f, name, "again")
			}
		}
	}
}

// TestCrashKeepPercent shows that the share of blocks and entries kept is what was asked for.
func TestCrashKeepPercent(t *testing.T) {
	const n = 4000
	f := disk.New(disk.Options{})
	put(t, f, "a", strings.Repeat("\x00", n*disk.BlockBytes))
	syncDir(t, f, "/")
	for b := range int64(n) {
		overwrite(t, f, "a", "x", b*disk.BlockBytes)
	}
	for _, keep := range []int{10, 50, 90} {
		got := strings.Count(get(t, crash(f, 1, keep), "a"), "x")
		// A torn block of one changed byte loses it: three quarters of the kept ones remain.
		if mean := n * keep / 100 * 3 / 4; got < mean*9/10 || got > mean*11/10 {
			t.Errorf("keep %d: %d of %d changes kept, want about %d", keep, got, n, mean)
		}
	}
	f = disk.New(disk.Options{})
	for i := range 1000 {
		put(t, f, fmt.Sprint(i), "")
	}
	for _, keep := range []int{10, 50, 90} {
		names, err := f.CrashClone(disk.CrashOptions{Seed: 1, KeepPercent: keep, Unordered: true}).List("/")
		check(t, err)
		if mean := 10 * keep; len(names) < mean-60 || len(names) > mean+60 {
			t.Errorf("keep %d: %d of 1000 names kept", keep, len(names))
		}
	}
	want(t, "below 0", crash(f, 1, -5).String(), crash(f, 1, 0).String())
	want(t, "above 100", crash(f, 1, 500).String(), crash(f, 1, 100).String())
}

// TestCrashTears shows that of the last block a part can be left, and that holes read as zeros.
func TestCrashTears(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "synced")
	syncDir(t, f, "/")
	check(t, appendTo(t, f, "a", blocks(4, 'x')).Close())
	live := get(t, f, "a")
	torn, holes := 0, 0
	for seed := range uint64(300) {
		got := get(t, crash(f, seed, 50), "a")
		want(t, "synced bytes", got[:6], "synced")
		if len(got) != 6 && len(got) != len(live) && len(got)%disk.BlockBytes != 0 {
			torn++
		}
		if strings.Contains(got, "\x00x") {
			holes++
		}
		for i := range got {
			if got[i] != 0 && got[i] != live[i] {
				t.Fatalf("seed %d: byte %d is %q", seed, i, got[i])
			}
		}
	}
	if torn < 20 || holes < 20 {
		t.Fatalf("of 300 crashes %d tore the end and %d left a hole", torn, holes)
	}
}

// TestCrashOfLogWithIgnoredSync shows that a log whose sync was ignored keeps a prefix, and other files are synced as ever.
func TestCrashOfLogWithIgnoredSync(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "1.log", "synced|")
	put(t, f, "1.sst", "")
	syncDir(t, f, "/")
	log, sst := appendTo(t, f, "1.log", ""), appendTo(t, f, "1.sst", "table")
	f.IgnoreLogSync(true)
	for i := range 20 {
		check(t, appendTo(t, f, "1.log", blocks(1, 'a'+byte(i))).Close())
		check(t, log.Sync())
	}
	check(t, sst.Sync())
	f.IgnoreLogSync(false)
	live := get(t, f, "1.log")
	want(t, "log at 0", get(t, crash(f, 1, 0), "1.log"), "synced|")
	want(t, "table at 0", get(t, crash(f, 1, 0), "1.sst"), "table")
	want(t, "log at 100", get(t, crash(f, 1, 100), "1.log"), live)
	lengths := map[int]bool{}
	for seed := range uint64(300) {
		got := get(t, crash(f, seed, 80), "1.log")
		if !strings.HasPrefix(live, got) || !strings.HasPrefix(got, "synced|") {
			t.Fatalf("seed %d: %d bytes are left that are no prefix", seed, len(got))
		}
		lengths[len(got)] = true
	}
	if len(lengths) < 20 {
		t.Fatalf("only %d lengths in 300 crashes", len(lengths))
	}
	want(t, "ignored", f.Counters().SyncsIgnored, 20)
	check(t, log.Sync())
	want(t, "after a true sync", get(t, crash(f, 1, 0), "1.log"), live)
}

// TestCrashCloneIsIndependent shows invariant 5, and that locks and open files end.
func TestCrashCloneIsIndependent(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "content")
	syncDir(t, f, "/")
	_, err := f.Lock("LOCK")
	check(t, err)
	clone := crash(f, 1, 100)
	was := clone.String()
	overwrite(t, f, "a", "CHANGED", 0)
	put(t, f, "b", "x")
	check(t, f.Remove("a"))
	want(t, "clone after writes to its origin", clone.String(), was)
	was = f.String()
	overwrite(t, clone, "a", "changed", 0)
	check(t, clone.Remove("a"))
	want(t, "origin after writes to its clone", f.String(), was)
	l, err := clone.Lock("LOCK")
	check(t, err)
	check(t, l.Close())
	_, err = f.Lock("LOCK")
	wantErr(t, "Lock of what is held", err, disk.ErrLocked)
}

// TestCrashAt strikes before each operation of a script, and compares with a clone made by hand there.
func TestCrashAt(t *testing.T) {
	script := []func(f *disk.FS){
		func(f *disk.FS) { check(t, f.MkdirAll("d", 0o755)) },
		func(f *disk.FS) { _, err := f.Create("d/a", vfs.WriteCategoryUnspecified); check(t, err) },
		func(f *disk.FS) { appendTo(t, f, "d/a", "xyz") },
		func(f *disk.FS) { check(t, appendTo(t, f, "d/a", "").Sync()) },
		func(f *disk.FS) { check(t, f.Link("d/a", "d/b")) },
		func(f *disk.FS) { check(t, f.Rename("d/b", "d/c")) },
		func(f *disk.FS) { syncDir(t, f, "d") },
		func(f *disk.FS) {
			_, err := f.ReuseForWrite("d/c", "d/e", vfs.WriteCategoryUnspecified)
			check(t, err)
		},
		func(f *disk.FS) { _, err := f.Lock("d/LOCK"); check(t, err) },
		func(f *disk.FS) { syncDir(t, f, "/") },
	}
	for _, keep := range []int{0, 50, 100} {
		o := disk.CrashOptions{Seed: 3, KeepPercent: keep}
		for n := 1; n <= len(script)+1; n++ {
			var reported []disk.Op
			f := disk.New(disk.Options{Seed: 1, OnOp: func(op disk.Op) { reported = append(reported, op) }})
			f.CrashAt(uint64(n), o)
			var before string
			for i, step := range script {
				if i == n-1 {
					before = f.CrashClone(o).String()
				}
				step(f)
				check(t, f.MkdirAll("d", 0o755)) // changes nothing, so it is no operation
				put(t, disk.New(disk.Options{}), "elsewhere", "")
			}
			if n > len(script) {
				want(t, "captured without reaching the operation", f.Captured(), nil)
				want(t, "operations", f.Counters().Ops, uint64(len(script)))
				continue
			}
			want(t, "captured", f.Captured().String(), before)
			want(t, "reported", len(reported), n-1)
			want(t, "numbered", f.Counters().Ops, uint64(n-1))
			wantNames(t, f, "/d", "LOCK", "a", "e") // the old one goes on
		}
	}
	f := disk.New(disk.Options{})
	f.CrashAt(1, disk.CrashOptions{})
	f.CrashAt(0, disk.CrashOptions{})
	put(t, f, "a", "")
	want(t, "disarmed", f.Captured(), nil)
	f.CrashAt(1, disk.CrashOptions{})
	check(t, f.Remove("a"))
	want(t, "by a removal", f.Captured(), nil)
	f.Mute()
	put(t, f, "a", "")
	want(t, "muted", f.Captured(), nil)
}

// TestCrashAgainstModel compares crashes after random operations with a model that keeps whole copies of everything
// at each sync: the simplest thing that is right, and too slow to use.
func TestCrashAgainstModel(t *testing.T) {
	type entry struct{ live, synced []byte }
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 0))
		f := disk.New(disk.Options{Seed: seed})
		live, durable := map[string]*entry{}, map[string]*entry{} // names to shared entries
		ever := map[string][]*entry{}                             // each entry that had the name since the directory was synced
		name := func() string { return fmt.Sprintf("/f%d", rng.IntN(6)) }
		for range 300 {
			a, b := name(), name()
			e := live[a]
			switch k := rng.IntN(12); {
			case e == nil || k == 0:
				_, err := f.Create(a, vfs.WriteCategoryUnspecified)
				check(t, err)
				live[a] = &entry{}
			case k <= 5:
				off, data := rng.IntN(len(e.live)+1), make([]byte, rng.IntN(3*disk.BlockBytes)+1)
				for i := range data {
					data[i] = byte(rng.IntN(255) + 1)
				}
				overwrite(t, f, a, string(data), int64(off))
				grown := make([]byte, max(len(e.live), off+len(data)))
				copy(grown, e.live)
				copy(grown[off:], data)
				e.live = grown
			case k <= 7:
				check(t, appendTo(t, f, a, "").Sync())
				e.synced = bytes.Clone(e.live)
			case k == 8:
				syncDir(t, f, "/")
				durable = map[string]*entry{}
				clear(ever)
				for n, e := range live {
					durable[n], ever[n] = e, []*entry{e}
				}
			case k == 9:
				check(t, f.Remove(a))
				f.Settle()
				delete(live, a)
			case k == 10 && live[b] == nil:
				check(t, f.Link(a, b))
				live[b] = e
			case k == 11 && live[b] != e:
				check(t, f.Rename(a, b))
				delete(live, a)
				live[b] = e
			}
			for _, n := range []string{a, b} {
				if e := live[n]; e != nil && !slices.Contains(ever[n], e) {
					ever[n] = append(ever[n], e)
				}
			}
		}
		lost, kept := crash(f, seed, 0), crash(f, seed, 100)
		for i := range 6 {
			n := fmt.Sprintf("/f%d", i)
			want(t, n+" at 0", exists(lost, n), durable[n] != nil)
			want(t, n+" at 100", exists(kept, n), live[n] != nil)
			if e := durable[n]; e != nil && get(t, lost, n) != string(e.synced) {
				t.Fatalf("seed %d: %s at 0 is not what was synced", seed, n)
			}
			if e := live[n]; e != nil && (get(t, kept, n) != string(e.live) || get(t, f, n) != string(e.live)) {
				t.Fatalf("seed %d: %s at 100 is not what was written", seed, n)
			}
		}
		for s := range uint64(20) {
			some := crash(f, s, 50)
			names, err := some.List("/")
			check(t, err)
			for _, n := range names {
				got := get(t, some, path.Join("/", n))
				if !slices.ContainsFunc(ever["/"+n], func(e *entry) bool { return possible(got, e.synced, e.live) }) {
					t.Fatalf("seed %d, crash %d: %s holds what it never held", seed, s, n)
				}
			}
		}
	}
}

// possible is invariant 2 together with 1: each byte is the synced, the live, or a zero in what is beyond the synced.
func possible(got string, synced, live []byte) bool {
	if len(got) < len(synced) || len(got) > len(live) {
		return false
	}
	for i := range got {
		switch {
		case got[i] == live[i], i < len(synced) && got[i] == synced[i], i >= len(synced) && got[i] == 0:
		default:
			return false
		}
	}
	return true
}
