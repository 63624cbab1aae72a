package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"

	"godwit/engine/slot"
)

const (
	// minDemoValue has room for what every value says: its key and version.
	minDemoValue = 24
	// demoBatch is how many commands are sent before replies are read.
	demoBatch = 500
)

// demoKeys are the keys that are loaded. Half of them lie in the slots that will move, so that the moves have something to
// carry; the others lie anywhere.
type demoKeys struct {
	count, valueSize int
	tags             []string // of the slots that move
}

func newDemoKeys(o demoOptions, moving slot.Set) *demoKeys {
	k := &demoKeys{count: o.keys, valueSize: o.valueSize}
	for _, sl := range moving.Slots() {
		k.tags = append(k.tags, hashTag(sl))
	}
	return k
}

// hashTag is a hash tag whose keys lie in the slot.
func hashTag(want slot.Slot) string {
	for i := 0; ; i++ { // each slot has one in 16,384 texts
		if tag := strconv.Itoa(i); slot.OfKey([]byte(tag)) == want {
			return tag
		}
	}
}

// name is the name of a key, by number.
func (k *demoKeys) name(i int) string {
	if i%2 == 0 {
		return fmt.Sprintf("demo:{%s}:%d", k.tags[i/2%len(k.tags)], i)
	}
	return fmt.Sprintf("demo:%d", i)
}

// value is what a key holds under a version.
func (k *demoKeys) value(i, version int) string {
	head := fmt.Sprintf("%d.%d.", i, version)
	if len(head) >= k.valueSize {
		return head
	}
	return head + strings.Repeat("~", k.valueSize-len(head))
}

// version reads the version out of a key's value; -1 when it is not a value of that key.
func (k *demoKeys) version(i int, value string) int {
	head, rest, _ := strings.Cut(value, ".")
	text, _, ok := strings.Cut(rest, ".")
	v, err := strconv.Atoi(text)
	if !ok || err != nil || head != strconv.Itoa(i) || value != k.value(i, v) {
		return -1
	}
	return v
}

// load writes version 0 of every key, pipelined, to all nodes at once.
func (d *demo) load(ctx context.Context) error {
	begin := time.Now()
	bar := d.bar(d.keys.count, "loading")
	err := d.eachKey(ctx, bar, d.ownersAtBirth(), func(i int) []string {
		return []string{"SET", d.keys.name(i), d.keys.value(i, 0)}
	}, func(i int, r reply) error {
		if r.Text != "OK" {
			return fmt.Errorf("SET %s answered %q", d.keys.name(i), r.Text)
		}
		return nil
	})
	_ = bar.Clear()
	if err != nil {
		return err
	}
	took := time.Since(begin)
	d.line("loaded", "%s keys of %d bytes in %.1f s (%s a second), half of them in the slots that will move",
		countText(d.keys.count), d.keys.valueSize, took.Seconds(), countText(int(float64(d.keys.count)/took.Seconds())))
	return nil
}

// ownersAtBirth tells for each slot the index of the node that serves it at first.
func (d *demo) ownersAtBirth() []int {
	owners := make([]int, slot.Count)
	for i, n := range d.nodes {
		for _, sl := range n.born.Slots() {
			owners[sl] = i
		}
	}
	return owners
}

// eachKey sends a command for every key to the node that owns it, and hands out the replies. command and got are called on
// one goroutine for each node.
func (d *demo) eachKey(ctx context.Context, bar *progressbar.ProgressBar, owners []int, command func(int) []string, got func(int, reply) error) error {
	lists := make([][]int, len(d.nodes))
	for i := range d.keys.count {
		at := owners[slot.OfKey([]byte(d.keys.name(i)))]
		lists[at] = append(lists[at], i)
	}
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for at, list := range lists {
		group.Go(func() {
			if err := d.eachOf(ctx, d.nodes[at].addr, list, bar, command, got); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *demo) eachOf(ctx context.Context, addr string, list []int, bar *progressbar.ProgressBar, command func(int) []string, got func(int, reply) error) error {
	c, err := dial(addr, "")
	if err != nil {
		return err
	}
	defer c.close()
	for len(list) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := list[:min(len(list), demoBatch)]
		list = list[len(batch):]
		if err := c.nc.SetDeadline(time.Now().Add(callTime)); err != nil {
			return err
		}
		for _, i := range batch {
			c.send(command(i)...)
		}
		if err := c.w.Flush(); err != nil {
			return err
		}
		for _, i := range batch {
			r, err := c.receive()
			if err != nil {
				return fmt.Errorf("%s: %w", addr, err)
			}
			if err := got(i, r); err != nil {
				return fmt.Errorf("%s: %w", addr, err)
			}
		}
		_ = bar.Add(len(batch))
	}
	return nil
}

// countText is a number with its thousands marked.
func countText(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
