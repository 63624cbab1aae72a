package linearize

import (
	"fmt"
	"io"
	"slices"

	"github.com/anishathalye/porcupine"
)

// WritePicture writes a self-contained HTML page that shows the operations of one key, the orders that the check
// tried, and the events of the history. With keys that operations link to this one it shows all together, or one of them
// that is illegal by itself. It judges the key first, at up to twice the cost of Check, and returns the
// result; bound it with opts.Steps when the key may be hard. The error wraps ErrHistory (also when the key has no
// judged operation) or ErrOptions, or is w's.
func WritePicture(w io.Writer, h *History, key string, opts Options) (Result, error) {
	parts, _, err := partition(new(Checker), h, opts)
	if err != nil {
		return UnknownResult, err
	}
	for _, p := range parts {
		if !slices.Contains(p.keys, key) {
			continue
		}
		_, p = p.judge(opts)
		r, info := p.trace(opts)
		events := make([]porcupine.Annotation, len(h.Events))
		for i, e := range h.Events {
			events[i] = porcupine.Annotation{Tag: e.Tag, Start: e.Start, End: e.End, Description: e.Description,
				BackgroundColor: e.Colour}
			if e.Tag == "" {
				events[i].Tag = "event"
			}
		}
		info.AddAnnotations(events)
		// The orders found are replayed by a model without budget: each of their steps was allowed once already.
		if err := porcupine.Visualize(porcupineModel(&budget{}, p.keys), info, w); err != nil {
			return r, fmt.Errorf("linearize: write picture of key %s: %w", quote(key), err)
		}
		return r, nil
	}
	return UnknownResult, fmt.Errorf("%w: key %s has no operation that can be judged", ErrHistory, quote(key))
}

// lanesOf gives each operation a line of the picture, numbered from 0 by first use. Lines never hold two operations at
// one time: a client with an open or a pipelined operation continues on a fresh line.
func lanesOf(ins []*input) []int {
	type lane struct {
		number int
		busy   int64 // return of its last operation
	}
	lanes := make([]int, len(ins))
	count := 0
	byClient := make(map[int][]lane)
	for i, in := range ins {
		own := byClient[in.op.Client]
		free := -1
		for j := range own {
			// An open write stays open for the picture even where closeObserved lowered its return.
			if own[j].busy < in.op.Call {
				free = j
				break
			}
		}
		if free < 0 {
			own = append(own, lane{number: count})
			free = len(own) - 1
			count++
		}
		own[free].busy = in.op.Return
		if in.op.Outcome == Unknown {
			own[free].busy = Open
		}
		byClient[in.op.Client] = own
		lanes[i] = own[free].number
	}
	return lanes
}
