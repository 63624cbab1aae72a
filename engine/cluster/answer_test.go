package cluster

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestAnswerText(t *testing.T) {
	a := Answer{
		Incarnation: 0xff,
		Slots:       []SlotAnswer{{Slot: 0}, {Slot: 7, State: Released, Epoch: 9}, {Slot: 16383, State: Serving, Epoch: 1}},
		Known:       []Contact{{ID: id("b"), Addr: "h:1"}, {ID: id("a"), Addr: "[::1]:2"}},
	}
	want := "directory 00000000000000ff\nslot 0 claiming 0\nslot 7 released 9\nslot 16383 serving 1\nnode " + string(id("b")) + " h:1\nnode " + string(id("a")) + " [::1]:2\n"
	if got := a.Text(); got != want {
		t.Errorf("the text is %q", got)
	}
	if got, err := ParseAnswer(want); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("reads back as %+v, %v", got, err)
	}
}

// Nothing that is not understood may pass for "none".
func TestParseAnswerRefuses(t *testing.T) {
	const head = "directory ff\n"
	for _, text := range []string{
		"", "slot 1 serving 1\n", "directory 0\n", "directory x\n", "directory ff ff\n", head + head,
		head + "slot 1 serving\n", head + "slot 1 serving 1 1\n", head + "slot 16384 serving 1\n", head + "slot -1 serving 1\n",
		head + "slot 1 none 1\n", head + "slot 1 owning 1\n", head + "slot 1 serving -1\n", head + "slot 2 serving 1\nslot 1 serving 1\n",
		head + "slot 1 serving 1\nslot 1 released 1\n", head + "node short h:1\n", head + "node " + string(id("a")) + "\n", head + "\n", head + "more\n",
	} {
		if a, err := ParseAnswer(text); !errors.Is(err, ErrAnswer) {
			t.Errorf("%q: %+v, %v", text, a, err)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add("directory ff\nslot 0 claiming 0\nslot 7 released 9\nnode " + strings.Repeat("a", NodeIDLen) + " h:1\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAnswer(text)
		if err != nil {
			return
		}
		if again, err := ParseAnswer(a.Text()); err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%q reads as %+v and then %+v, %v", text, a, again, err)
		}
	})
}
