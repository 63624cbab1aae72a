package linearize_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"godwit/linearize"
)

// tangled returns an illegal history with many partial orders.
func tangled(t testing.TB) *linearize.History {
	h := hard(3)
	for i := range 4 {
		op := command(t, 9, int64(i*2), "INCR", "counter")
		op.Return, op.Outcome, op.Reply = op.Call+5, linearize.Ok, linearize.Int(int64(i%2+1))
		h.Operations = append(h.Operations, op)
	}
	h.Events = []linearize.Event{{Tag: "nemesis", Start: 1, End: 3, Description: "crash of n1", Colour: "#ffcccc"},
		{Start: 2, Description: "untagged </script>"}}
	return h
}

func TestPicture(t *testing.T) {
	h := tangled(t)
	pages := map[string]linearize.Result{"hard": linearize.Illegal, "counter": linearize.Illegal, "easy": linearize.Linearizable}
	for key, want := range pages {
		var first bytes.Buffer
		r, err := linearize.WritePicture(&first, h, key, linearize.Options{})
		must(t, err)
		if r != want {
			t.Errorf("%s: result %s, want %s", key, r, want)
		}
		page := first.String()
		for _, part := range []string{"<html", key, "crash of n1", "#ffcccc", "nemesis", "untagged"} {
			if !strings.Contains(page, part) {
				t.Errorf("%s: the page has no %q", key, part)
			}
		}
		for _, part := range []string{"src=\"http", "href=\"http", "@import", "untagged </script>"} {
			if strings.Contains(page, part) {
				t.Errorf("%s: the page has %q", key, part)
			}
		}
		for range 10 {
			var again bytes.Buffer
			_, err := linearize.WritePicture(&again, h, key, linearize.Options{})
			must(t, err)
			if again.String() != page {
				t.Fatalf("%s: the same history gives different pages", key)
			}
		}
	}
}

func TestPictureErrors(t *testing.T) {
	h := tangled(t)
	if _, err := linearize.WritePicture(io.Discard, h, "no such key", linearize.Options{}); !errors.Is(err, linearize.ErrHistory) {
		t.Errorf("no such key: %v", err)
	}
	if _, err := linearize.WritePicture(failing{}, h, "easy", linearize.Options{}); !errors.Is(err, errFull) {
		t.Errorf("a failing writer: %v", err)
	}
	if _, err := linearize.WritePicture(io.Discard, h, "easy", linearize.Options{Steps: -1}); !errors.Is(err, linearize.ErrOptions) {
		t.Errorf("bad options: %v", err)
	}
	// A check that gave up still gives a picture.
	var b bytes.Buffer
	r, err := linearize.WritePicture(&b, hard(10), "hard", linearize.Options{Steps: 500})
	must(t, err)
	if r != linearize.UnknownResult || b.Len() == 0 {
		t.Errorf("result %s, %d bytes", r, b.Len())
	}
}
