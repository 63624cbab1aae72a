package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"godwit/engine/key"
)

func TestValidate(t *testing.T) {
	good := testOptions(vfs.NewMem())
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"store: FS is missing":     func(o *Options) { o.FS = nil },
		"store: Dir is empty":      func(o *Options) { o.Dir = "" },
		"store: Syncer is missing": func(o *Options) { o.Syncer = nil },
		"store: Fatal is missing":  func(o *Options) { o.Fatal = nil },
		"store: CacheBytes is -1":  func(o *Options) { o.CacheBytes = -1 },
	} {
		o := good
		change(&o)
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestReopen(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewMem()
		st := mustOpen(t, options(fs))
		set(st, "a", "1")
		b := st.NewBatch()
		b.Set([]byte("b"), nil)
		b.Set([]byte("c"), []byte("3"))
		b.Delete([]byte("c"))
		st.Commit(b)
		mustClose(t, st)

		st = mustOpen(t, options(fs))
		defer mustClose(t, st)
		wantValue(t, st, "a", "1")
		wantValue(t, st, "b", "")
		wantNone(t, st, "c")
		if st.Last() != 0 || st.Durable() != 0 {
			t.Errorf("positions after reopening: last %d, durable %d; want none", st.Last(), st.Durable())
		}
		if got := files(t, fs, "d")[formatFile]; got != "godwit 2\n" && got != "godwit-memory 2\n" {
			t.Errorf("the format file holds %q", got)
		}
	})
}

// TestCloseKeepsUnsynced: Close syncs what nobody waited for.
func TestCloseKeepsUnsynced(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewCrashableMem()
		st := mustOpen(t, options(fs))
		set(st, "a", "1")
		mustClose(t, st)
		st = mustOpen(t, options(fs.CrashClone(vfs.CrashCloneCfg{})))
		defer mustClose(t, st)
		wantValue(t, st, "a", "1")
	})
}

// TestUnknownFormat: a directory of another version is refused before a byte of it changes.
func TestUnknownFormat(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		for _, text := range []string{"godwit 3\n", "godwit 0\n", "godwit -1\n", "godwit 1x\n", "godwit one\n", "", "kvrocks 1\n", "godwit 99999999999999999999\n"} {
			fs := vfs.NewMem()
			st := mustOpen(t, options(fs))
			set(st, "a", "1")
			mustClose(t, st)
			writeFile(t, fs, "d/"+formatFile, text)
			before := files(t, fs, "d")
			_, err := Open(options(fs))
			if !errors.Is(err, ErrFormat) {
				t.Errorf("%q: %v", text, err)
			}
			if !maps.Equal(before, files(t, fs, "d")) {
				t.Errorf("%q: the directory was touched", text)
			}
		}
	})
}

// TestOlderFormat: a directory of format 1 is read, and has the present version, also after a loss of power, before anything is committed to it. What fails
// on the way leaves one that can be opened.
func TestOlderFormat(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		broken := errors.New("no space left")
		for at := int32(0); ; at++ {
			fs := vfs.NewCrashableMem()
			st := mustOpen(t, options(fs))
			set(st, "a", "1")
			mustClose(t, st)
			now := files(t, fs, "d")[formatFile]
			writeFile(t, fs, "d/"+formatFile, strings.Replace(now, " 2", " 1", 1))
			var n atomic.Int32
			st, err := Open(options(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if strings.Contains(op.Path, formatFile) && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && n.Add(1)-1 == at {
					return broken
				}
				return nil
			}))))
			if err != nil {
				if !errors.Is(err, broken) {
					t.Errorf("failure %d: %v", at, err)
				}
				st = mustOpen(t, options(fs))
			} else if at == 0 {
				t.Error("nothing was made to fail")
			}
			if got := files(t, fs.CrashClone(vfs.CrashCloneCfg{}), "d")[formatFile]; got != now {
				t.Errorf("failure %d: after a loss of power the file holds %q, want %q", at, got, now)
			}
			wantValue(t, st, "a", "1")
			mustClose(t, st)
			if err == nil {
				return
			}
		}
	})
}

// TestOtherEngine: neither engine opens what the other has written.
func TestOtherEngine(t *testing.T) {
	for _, c := range [][2]func(vfs.FS) Options{{testOptions, memoryOptions}, {memoryOptions, testOptions}} {
		fs := vfs.NewMem()
		mustClose(t, mustOpen(t, c[0](fs)))
		before := files(t, fs, "d")
		if _, err := Open(c[1](fs)); !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
		if !maps.Equal(before, files(t, fs, "d")) {
			t.Error("the directory was touched")
		}
	}
}

// TestNewDirectoriesSurvive: a directory that Open made is there after a loss of power, and those above it.
func TestNewDirectoriesSurvive(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewCrashableMem()
		o := options(fs)
		o.Dir = "a/b/c"
		st := mustOpen(t, o)
		st.WhenDurable(set(st, "k", "v"), func() {})
		o.Syncer.(*heldSyncer).run()
		left := options(fs.CrashClone(vfs.CrashCloneCfg{}))
		left.Dir = o.Dir
		mustClose(t, st)
		st = mustOpen(t, left)
		defer mustClose(t, st)
		wantValue(t, st, "k", "v")
	})
}

// TestParentUnreadable: a directory that is there is opened although its parent may not be; one that Open made, and whose
// entry it cannot make durable, is not.
func TestParentUnreadable(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewMem()
		why := error(&os.PathError{Op: "open", Path: "a", Err: syscall.EACCES})
		closed := options(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpOpenDir && op.Path == "a" {
				return why
			}
			return nil
		})))
		closed.Dir = "a/b"
		if _, err := Open(closed); !errors.Is(err, os.ErrPermission) {
			t.Errorf("a new directory: %v", err)
		}
		mustClose(t, mustOpen(t, closed))
		why = syscall.EIO
		if _, err := Open(closed); !errors.Is(err, syscall.EIO) {
			t.Errorf("a parent that cannot be synced: %v", err)
		}
	})
}

// TestNoFormatFile: a database without a format file was not made by this program.
func TestNoFormatFile(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewMem()
		mustClose(t, mustOpen(t, options(fs)))
		if err := fs.Remove("d/" + formatFile); err != nil {
			t.Fatal(err)
		}
		before := files(t, fs, "d")
		if _, err := Open(options(fs)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "no "+formatFile) {
			t.Error(err)
		}
		if !maps.Equal(before, files(t, fs, "d")) {
			t.Error("the directory was touched")
		}

		old := vfs.NewMem()
		if err := old.MkdirAll("d", 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, old, "d/CURRENT", "MANIFEST-000001\n")
		if _, err := Open(options(old)); !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
	})
}

// TestFormatFileUnreadable: that the file cannot be opened does not mean that there is none, and it is not written anew.
func TestFormatFileUnreadable(t *testing.T) {
	broken := errors.New("input/output error")
	for _, database := range []bool{false, true} {
		fs := vfs.NewMem()
		if database {
			mustClose(t, mustOpen(t, testOptions(fs)))
		} else {
			if err := fs.MkdirAll("d", 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, fs, "d/"+formatFile, "godwit 3\n")
		}
		before := files(t, fs, "d")
		_, err := Open(testOptions(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpOpen && strings.HasSuffix(op.Path, formatFile) {
				return broken
			}
			return nil
		}))))
		if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Error(err)
		}
		if !maps.Equal(before, files(t, fs, "d")) {
			t.Error("the directory was touched")
		}
	}
}

// TestFirstOpenFails: whatever fails at the birth of a directory, the next Open succeeds, also after a loss of power.
func TestFirstOpenFails(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		broken := errors.New("no space left")
		for at := int32(0); ; at++ {
			fs := vfs.NewCrashableMem()
			var n atomic.Int32
			wrapped := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if strings.Contains(op.Path, formatFile) && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && n.Add(1)-1 == at {
					return broken
				}
				return nil
			}))
			st, err := Open(options(wrapped))
			if err == nil {
				mustClose(t, st)
				if at == 0 {
					t.Error("nothing was made to fail")
				}
				return
			}
			if !errors.Is(err, broken) {
				t.Errorf("failure %d: %v", at, err)
			}
			mustClose(t, mustOpen(t, options(fs)))
			mustClose(t, mustOpen(t, options(fs.CrashClone(vfs.CrashCloneCfg{}))))
		}
	})
}

func TestInUse(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewMem()
		st := mustOpen(t, options(fs))
		if _, err := Open(options(fs)); !errors.Is(err, ErrInUse) {
			t.Errorf("a second Open: %v", err)
		}
		set(st, "a", "1") // the first is none the worse
		mustClose(t, st)
		mustClose(t, mustOpen(t, options(fs)))
	})
}

// TestInUseByProcess holds the directory in another process.
func TestInUseByProcess(t *testing.T) {
	const variable = "GODWIT_TEST_OPEN"
	if dir := os.Getenv(variable); dir != "" {
		o := testOptions(vfs.Default)
		o.Dir = dir
		_, err := Open(o)
		fmt.Println("in use:", errors.Is(err, ErrInUse))
		return
	}
	o := testOptions(vfs.Default)
	o.Dir = t.TempDir()
	st := mustOpen(t, o)
	defer mustClose(t, st)
	cmd := exec.Command(os.Args[0], "-test.run=^TestInUseByProcess$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+o.Dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "in use: true") {
		t.Errorf("%v\n%s", err, out)
	}
}

type heldLock struct{ held bool }

func (heldLock) Error() string    { return "locked" }
func (l heldLock) LockHeld() bool { return l.held }

func TestLockErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("lock: %w", syscall.EAGAIN), true},
		{fmt.Errorf("lock: %w", syscall.EACCES), true},
		{&os.PathError{Op: "open", Path: "d/LOCK", Err: syscall.EACCES}, false},
		{syscall.ENOSPC, false},
		{fmt.Errorf("lock: %w", heldLock{true}), true},
		{heldLock{false}, false},
	} {
		if got := isLockError(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestPositions(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		if st.Last() != 0 {
			t.Fatal("a new store has a position")
		}
		for i := 1; i <= 3; i++ {
			if p := set(st, "a", fmt.Sprint(i)); p != Position(i) || st.Last() != p || st.Durable() != 0 {
				t.Errorf("commit %d has position %d, last %d, durable %d", i, p, st.Last(), st.Durable())
			}
		}
		wantValue(t, st, "a", "3") // visible before it is durable
		if p := st.Commit(st.NewBatch()); p != 4 {
			t.Errorf("an empty batch has position %d", p)
		}
	})
}

// TestGroupCommit: the waiters of a round share one sync of the log, run in order, and none runs before it.
func TestGroupCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		var syncs atomic.Int32
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo) {
				syncs.Add(1)
			}
			return nil
		}))
		o := options(fs)
		syncer := o.Syncer.(*heldSyncer)
		st := mustOpen(t, o)
		defer mustClose(t, st)
		syncs.Store(0)
		var order []int
		for i := range 100 {
			p := set(st, "k", fmt.Sprint(i))
			st.WhenDurable(p, func() { order = append(order, i) })
		}
		if syncer.made != 1 || len(order) != 0 || syncs.Load() != 0 {
			t.Fatalf("before the round: %d rounds scheduled, %d waiters ran, %d syncs", syncer.made, len(order), syncs.Load())
		}
		syncer.run()
		if len(order) != 100 || syncs.Load() != 1 || st.Durable() != 100 {
			t.Errorf("after the round: %d waiters ran, %d syncs, durable %d", len(order), syncs.Load(), st.Durable())
		}
		for i, got := range order {
			if got != i {
				t.Fatalf("waiter %d ran as number %d", got, i)
			}
		}
		// Nothing is to be synced for what is durable already; the waiter still runs off the caller's stack.
		ran := false
		st.WhenDurable(50, func() { ran = true })
		if ran {
			t.Error("a waiter ran on the caller's stack")
		}
		syncer.run()
		if !ran || syncs.Load() != 1 {
			t.Errorf("ran %v, %d syncs", ran, syncs.Load())
		}
		// A waiter that waits again gets a round of its own.
		again := false
		p := set(st, "k", "last")
		st.WhenDurable(p, func() { st.WhenDurable(set(st, "k", "more"), func() { again = true }) })
		syncer.run()
		if again {
			t.Error("the second wait ran in the first round")
		}
		syncer.run()
		if !again || syncer.made != 4 {
			t.Errorf("ran %v, %d rounds", again, syncer.made)
		}
	})
}

// TestDurableSurvives takes the power away when a waiter runs: what it waited for is there. Commits race with the rounds.
func TestDurableSurvives(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewCrashableMem()
		o := options(fs)
		syncer := o.Syncer.(*heldSyncer)
		st := mustOpen(t, o)
		var wg, waiting sync.WaitGroup
		var checks atomic.Int32
		for w := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 40 {
					k := fmt.Sprintf("w%d-%d", w, i)
					p := set(st, k, "v")
					waiting.Add(1)
					st.WhenDurable(p, func() {
						defer waiting.Done()
						if st.Durable() < p || st.Durable() > st.Last() {
							t.Errorf("durable %d, last %d, waited for %d", st.Durable(), st.Last(), p)
						}
						if i%10 != 0 {
							return
						}
						checks.Add(1)
						after := mustOpen(t, options(fs.CrashClone(vfs.CrashCloneCfg{})))
						defer mustClose(t, after)
						wantValue(t, after, k, "v")
					})
				}
			}()
		}
		done := make(chan struct{})
		go func() { wg.Wait(); waiting.Wait(); close(done) }()
		for {
			select {
			case <-done:
				if checks.Load() != 16 {
					t.Errorf("%d checks", checks.Load())
				}
				mustClose(t, st)
				return
			default:
				syncer.run()
			}
		}
	})
}

// TestLostWithoutSync shows that the test above can fail: without a round, nothing survives.
func TestLostWithoutSync(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewCrashableMem()
		st := mustOpen(t, options(fs))
		defer mustClose(t, st)
		set(st, "a", "1")
		after := mustOpen(t, options(fs.CrashClone(vfs.CrashCloneCfg{})))
		defer mustClose(t, after)
		wantNone(t, after, "a")
	})
}

// TestClosedNeverRuns: waiters that have not run when the store closes never do.
func TestClosedNeverRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		o := options(vfs.NewMem())
		syncer := o.Syncer.(*heldSyncer)
		st := mustOpen(t, o)
		st.WhenDurable(set(st, "a", "1"), func() { t.Error("a waiter ran after Close") })
		mustClose(t, st)
		syncer.run()
		st.WhenDurable(1, func() { t.Error("a waiter ran that came after Close") })
		if syncer.run() != 0 {
			t.Error("a closed store scheduled a round")
		}
	})
}

// TestFatal: a sync that fails ends the process; nobody is told that his write is durable.
func TestFatal(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		broken := errors.New("the disk is gone")
		var fail atomic.Bool
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if fail.Load() && strings.HasSuffix(op.Path, ".log") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return broken
			}
			return nil
		}))
		o := options(fs)
		fatal := make(chan error, 16)
		o.Fatal = func(err error) {
			fatal <- err
			select {} // as os.Exit: it does not return
		}
		syncer := o.Syncer.(*heldSyncer)
		st := mustOpen(t, o)
		fail.Store(true)
		go func() {
			st.WhenDurable(set(st, "a", "1"), func() { t.Error("a waiter ran after its sync failed") })
			syncer.run()
		}()
		if err := <-fatal; !strings.Contains(err.Error(), broken.Error()) {
			t.Error(err)
		}
		if st.Durable() != 0 {
			t.Errorf("durable %d", st.Durable())
		}
	})
}

func TestSnapshot(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		set(st, "a", "1")
		set(st, "b", "1")
		snap := st.NewSnapshot()
		defer snap.Close()
		set(st, "a", "2")
		set(st, "c", "2")
		b := st.NewBatch()
		b.DeleteRange(key.Span{Lo: []byte("b"), Hi: []byte("c")})
		st.Commit(b)
		st.Flush()
		all := key.Span{Lo: []byte("a"), Hi: []byte("z")}
		if got := content(t, snap, all); !maps.Equal(got, map[string]string{"a": "1", "b": "1"}) {
			t.Errorf("the snapshot shows %v", got)
		}
		if got := content(t, st, all); !maps.Equal(got, map[string]string{"a": "2", "c": "2"}) {
			t.Errorf("the store shows %v", got)
		}
		wantValue(t, snap, "b", "1")
		if got := content(t, st, key.Span{Lo: []byte("a"), Hi: []byte("c")}); len(got) != 1 {
			t.Errorf("the span is half open: %v", got)
		}
	})
}

func TestIndexedBatch(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		set(st, "a", "1")
		set(st, "b", "1")
		b := st.NewIndexedBatch()
		if !b.Indexed() || !b.Empty() || st.NewBatch().Indexed() {
			t.Error("what kind of batch is it?")
		}
		b.Set([]byte("a"), []byte("2"))
		b.DeleteRange(key.Span{Lo: []byte("a"), Hi: []byte("c")})
		b.Set([]byte("c"), []byte("2"))
		size := b.Bytes()
		wantNone(t, b, "a")
		wantNone(t, b, "b")
		wantValue(t, b, "c", "2")
		wantValue(t, st, "a", "1")
		if got := content(t, b, key.Span{Lo: []byte("a"), Hi: []byte("z")}); !maps.Equal(got, map[string]string{"c": "2"}) {
			t.Errorf("the batch shows %v", got)
		}
		if b.Empty() || size < len("a2acc2") {
			t.Errorf("the batch has %d bytes", size)
		}
		st.Commit(b)
		wantNone(t, st, "a")
		wantValue(t, st, "c", "2")

		gone := st.NewIndexedBatch()
		gone.Set([]byte("d"), nil)
		gone.Discard()
		wantNone(t, st, "d")
	})
}

// TestGetIsTheCallers: the value stays what it was when the store goes on.
func TestGetIsTheCallers(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		set(st, "a", "1")
		v, _, err := st.Get([]byte("a"))
		if err != nil {
			t.Fatal(err)
		}
		v[0] = 'x'
		wantValue(t, st, "a", "1")
		k, w := []byte("b"), []byte("2")
		b := st.NewBatch()
		b.Set(k, w)
		k[0], w[0] = 'x', 'x'
		st.Commit(b)
		wantValue(t, st, "b", "2")
	})
}

func TestFiguresOfTheStore(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		b := st.NewBatch()
		for i := range 2000 {
			b.Set(numbered(1, i), make([]byte, 100))
		}
		st.Commit(b)
		st.Flush()
		if n, err := st.DiskBytes(key.SlotSpan(1)); err != nil || n == 0 {
			t.Errorf("%d bytes on disk, %v", n, err)
		}
		if n, err := st.DiskBytes(key.SlotSpan(2)); err != nil || n != 0 {
			t.Errorf("%d bytes on disk of an empty slot, %v", n, err)
		}
		if st.Metrics() == "" {
			t.Error("no metrics")
		}
	})
}
