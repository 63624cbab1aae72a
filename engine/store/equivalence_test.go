package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"godwit/engine/key"
)

// twin is one engine in the equivalence test, with all that is open on it.
type twin struct {
	fs      *vfs.MemFS
	options func(vfs.FS) Options
	syncer  *heldSyncer
	st      *Store
	batch   *Batch
	readers []Reader // snapshots
	iters   []*Iter
}

func (w *twin) open(t *rapid.T) {
	o := w.options(w.fs)
	w.syncer = o.Syncer.(*heldSyncer)
	var err error
	if w.st, err = Open(o); err != nil {
		t.Fatalf("open: %v", err)
	}
	w.batch, w.readers, w.iters = w.st.NewIndexedBatch(), nil, nil
}

// letGo closes all that is open on the store.
func (w *twin) letGo(t *rapid.T) {
	for _, i := range w.iters {
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.readers {
		r.(*Snapshot).Close()
	}
	if w.batch != nil {
		w.batch.Discard()
	}
	w.batch, w.readers, w.iters = nil, nil, nil
}

func (w *twin) show(i *Iter, ok bool) string {
	if ok != i.Valid() {
		return fmt.Sprintf("returned %v, valid %v", ok, i.Valid())
	}
	if !ok {
		return fmt.Sprint("none ", i.Error())
	}
	v, err := i.ValueAndErr()
	return fmt.Sprintf("%q %q %q %v", i.Key(), v, i.Value(), err)
}

// TestEnginesAreEqual does the same things to a store on Pebble and to one in memory, and compares everything that can be
// seen: values, iterators in both directions, snapshots and iterators of earlier moments, batches that are read while they
// grow, and what closing or a loss of power leaves.
func TestEnginesAreEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		twins := []*twin{{fs: vfs.NewCrashableMem(), options: testOptions}, {fs: vfs.NewCrashableMem(), options: memoryOptions}}
		for _, w := range twins {
			w.open(t)
		}
		// both lets each engine answer, and compares.
		both := func(what string, ask func(w *twin) string) {
			a, b := ask(twins[0]), ask(twins[1])
			if a != b {
				t.Fatalf("%s: on Pebble %s, in memory %s", what, a, b)
			}
		}
		anyKey := func(label string) []byte {
			return []byte(rapid.StringOfN(rapid.SampledFrom([]rune("abc")), 1, 3, -1).Draw(t, label))
		}
		anySpan := func() key.Span {
			span := key.Span{Lo: anyKey("low"), Hi: anyKey("high")}
			if bytes.Compare(span.Lo, span.Hi) > 0 {
				span.Lo, span.Hi = span.Hi, span.Lo
			}
			return span
		}
		anyReader := func() func(w *twin) Reader {
			n := rapid.IntRange(-2, len(twins[0].readers)-1).Draw(t, "reader")
			return func(w *twin) Reader {
				switch n {
				case -2:
					return w.st
				case -1:
					return w.batch
				default:
					return w.readers[n]
				}
			}
		}
		reopen := func() {
			for _, w := range twins {
				w.open(t)
			}
			both("after opening", func(w *twin) string { return w.content(t) })
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := anyKey("key"), []byte(rapid.StringN(0, 3, -1).Draw(t, "value"))
				for _, w := range twins {
					w.batch.Set(k, v)
				}
			},
			"delete": func(t *rapid.T) {
				k := anyKey("key")
				for _, w := range twins {
					w.batch.Delete(k)
				}
			},
			"delete range": func(t *rapid.T) {
				span := anySpan()
				for _, w := range twins {
					w.batch.DeleteRange(span)
				}
			},
			"batch": func(t *rapid.T) {
				both("batch", func(w *twin) string { return fmt.Sprint(w.batch.Bytes(), w.batch.Empty(), w.batch.Indexed()) })
			},
			"commit": func(t *rapid.T) {
				for _, w := range twins { // an iterator of a batch ends before the batch
					w.closeIters(t)
				}
				both("commit", func(w *twin) string {
					p := w.st.Commit(w.batch)
					w.batch = w.st.NewIndexedBatch()
					return fmt.Sprint(p)
				})
			},
			"commit beside": func(t *rapid.T) { // under an open batch
				k, v, remove := anyKey("key"), []byte(rapid.StringN(0, 3, -1).Draw(t, "value")), rapid.Bool().Draw(t, "remove")
				for _, w := range twins {
					b := w.st.NewBatch()
					if remove {
						b.Delete(k)
					} else {
						b.Set(k, v)
					}
					w.st.Commit(b)
				}
			},
			"get": func(t *rapid.T) {
				r, k := anyReader(), anyKey("key")
				both("get", func(w *twin) string {
					v, found, err := r(w).Get(k)
					return fmt.Sprintf("%q %v %v", v, found, err)
				})
			},
			"snapshot": func(*rapid.T) {
				for _, w := range twins {
					w.readers = append(w.readers, w.st.NewSnapshot())
				}
			},
			"iterate": func(t *rapid.T) {
				r, span := anyReader(), anySpan()
				for _, w := range twins {
					it, err := r(w).NewIter(span)
					if err != nil {
						t.Fatal(err)
					}
					it.First()
					w.iters = append(w.iters, it)
				}
			},
			"move": func(t *rapid.T) {
				if len(twins[0].iters) == 0 {
					t.Skip("there is no iterator")
				}
				n, how, k := rapid.IntRange(0, len(twins[0].iters)-1).Draw(t, "iterator"), rapid.IntRange(0, 9).Draw(t, "how"), anyKey("key")
				both(fmt.Sprint("move ", how), func(w *twin) string {
					i := w.iters[n]
					switch how {
					case 0:
						return w.show(i, i.First())
					case 1:
						return w.show(i, i.Last())
					case 2:
						return w.show(i, i.SeekGE(k))
					case 3:
						return w.show(i, i.SeekLT(k))
					case 4, 5, 6:
						return w.show(i, i.Prev())
					default:
						return w.show(i, i.Next())
					}
				})
			},
			"sync": func(*rapid.T) {
				for _, w := range twins {
					w.st.WhenDurable(w.st.Last(), func() {})
				}
				both("sync", func(w *twin) string { return fmt.Sprint(w.syncer.run(), w.st.Durable()) })
			},
			"flush": func(*rapid.T) {
				for _, w := range twins {
					w.st.Flush()
				}
			},
			"close": func(t *rapid.T) {
				for _, w := range twins {
					w.letGo(t)
					if err := w.st.Close(); err != nil {
						t.Fatal(err)
					}
				}
				reopen()
			},
			"power": func(t *rapid.T) {
				for _, w := range twins {
					// What is visible and not durable may stay or go; a sync makes both keep it.
					w.st.WhenDurable(w.st.Last(), func() {})
					w.syncer.run()
					left := w.fs.CrashClone(vfs.CrashCloneCfg{})
					w.letGo(t)
					if err := w.st.Close(); err != nil {
						t.Fatal(err)
					}
					w.fs = left
				}
				reopen()
			},
		})
		for _, w := range twins {
			w.letGo(t)
			if err := w.st.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// content is everything that the store shows.
func (w *twin) content(t *rapid.T) string {
	it, err := w.st.NewIter(key.Span{})
	if err != nil {
		t.Fatal(err)
	}
	var out string
	for ok := it.First(); ok; ok = it.Next() {
		out += w.show(it, ok) + "\n"
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *twin) closeIters(t *rapid.T) {
	for _, i := range w.iters {
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w.iters = nil
}
