package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine"
	"godwit/engine/slot"
)

// mapSide is a verifySide of keys with one item each, which is its key.
type mapSide map[string]string

// within is the keys of a span, in order.
func (m mapSide) within(lo, hi []byte) (out []string) {
	for k := range maps.Keys(m) {
		if bytes.Compare([]byte(k), lo) >= 0 && (len(hi) == 0 || bytes.Compare([]byte(k), hi) < 0) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// mapEnd is after all keys of a mapSide.
const mapEnd = "\xff\xff"

func (m mapSide) cut(lo, hi []byte, items int) (keys []string, end []byte, last bool) {
	keys, end, last = m.within(lo, hi), hi, true
	if len(hi) == 0 {
		end = []byte(mapEnd)
	}
	if len(keys) > items {
		return keys[:items], append([]byte(keys[items-1]), 0), false
	}
	return keys, end, last
}

func (m mapSide) chunk(_ slot.Slot, lo, hi []byte, items int, _ bool) (engine.VerifyChunk, error) {
	keys, end, last := m.cut(lo, hi, items)
	digest := ""
	for _, k := range keys {
		digest += fmt.Sprintf("%q=%q ", k, m[k])
	}
	return engine.VerifyChunk{Hi: end, Digest: digest, Items: uint64(len(keys)), Last: last}, nil
}

func (m mapSide) list(_ slot.Slot, lo, hi []byte, items int) (engine.VerifyList, error) {
	keys, end, last := m.cut(lo, hi, items)
	l := engine.VerifyList{Hi: end, Last: last}
	for _, k := range keys {
		l.Keys = append(l.Keys, engine.VerifyKey{Key: []byte(k), Digest: m[k], Items: 1, Lo: []byte(k), Hi: []byte(k + "\x00")})
	}
	return l, nil
}

func (m mapSide) export(_ slot.Slot, lo, hi []byte) (e engine.VerifyExport, err error) {
	e.Last = true
	for _, k := range m.within(lo, hi) {
		e.Commands = append(e.Commands, k+"="+m[k]...)
	}
	return e, nil
}

func (m mapSide) repair(_ slot.Slot, lo, hi, commands []byte, _ bool) error {
	for _, k := range m.within(lo, hi) {
		delete(m, k)
	}
	if k, v, ok := bytes.Cut(commands, []byte("=")); ok {
		m[string(k)] = string(v)
	}
	return nil
}

// walkFinds draws two sides and reports whether a walk finds exactly what differs, and mends it.
func walkFinds(t *rapid.T) bool {
	a, b := mapSide{}, mapSide{}
	for i := range rapid.IntRange(0, 300).Draw(t, "keys") {
		a[fmt.Sprintf("k%03d", i*3)], b[fmt.Sprintf("k%03d", i*3)] = "v", "v"
	}
	want := map[string]string{}
	for range rapid.IntRange(0, 5).Draw(t, "changes") {
		k := fmt.Sprintf("k%03d", rapid.IntRange(0, 950).Draw(t, "key"))
		rapid.SampledFrom([]func(){
			func() { delete(a, k) }, func() { delete(b, k) }, func() { a[k] = "w" }, func() { b[k] = "x" },
		}).Draw(t, "change")()
	}
	for k := range a {
		if v, ok := b[k]; !ok {
			want[k] = "missing"
		} else if v != a[k] {
			want[k] = "different"
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			want[k] = "extra"
		}
	}
	w := &verifyWalk{from: a, to: b, most: 1000, progress: func(uint64) {}}
	if _, err := w.compare(nil, nil, rapid.IntRange(1, 400).Draw(t, "chunk")); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range w.found {
		got[d.Key] = d.Kind
	}
	if !maps.Equal(got, want) || len(got) != len(w.found) {
		return false
	}
	return w.mend(false) == nil && maps.Equal(a, b)
}

// TestVerifyWalk requires that a walk finds every difference, once, in chunks of any size.
func TestVerifyWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if !walkFinds(t) {
			t.Fatal("the walk has not found what differs, or not mended it")
		}
	})
}
