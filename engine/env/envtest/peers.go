package envtest

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"godwit/engine/env"
)

// patience is the timeout of calls that are not meant to time out.
const patience = 5 * time.Second

// call makes a call of some words on the control lane.
func call(w *World, to env.Peer, words string, done func([]byte, error)) {
	w.Peers.Call(to, env.Control, split(words), patience, done)
}

func split(words string) [][]byte {
	var args [][]byte
	for _, f := range strings.Fields(words) {
		args = append(args, []byte(f))
	}
	return args
}

func echo(args [][]byte) Answer {
	var words []string
	for _, a := range args {
		words = append(words, string(a))
	}
	return Answer{Reply: []byte(strings.Join(words, " "))}
}

// outcome adds to the log what became of a call.
func (l *log) outcome(name string) func([]byte, error) {
	return func(reply []byte, err error) {
		var remote *env.RemoteError
		switch {
		case err == nil:
			l.add("%s answered %s", name, reply)
		case errors.As(err, &remote):
			l.add("%s refused %s", name, remote.Text)
		case errors.Is(err, env.ErrTimeout):
			l.add("%s timeout", name)
		case errors.Is(err, env.ErrLink):
			l.add("%s link", name)
		default:
			l.add("%s unknown error %v", name, err)
		}
	}
}

// expect compares what became of calls.
func expect(t T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the calls ended as %q, want %q", got, want)
	}
}

func callAnswered(t T, w *World) {
	var l log
	to := w.Serve(echo)
	l.holding(func() { call(w, to, "PEER a b", l.outcome("call")) })
	expect(t, l.await(t, w, 1), "call answered PEER a b")
}

func callsOrdered(t T, w *World) {
	const calls = 300
	var at, done log
	to := w.Serve(func(args [][]byte) Answer {
		at.add("%s", args[1])
		return echo(args)
	})
	for i := range calls {
		call(w, to, fmt.Sprintf("PEER %d", i), done.outcome("call"))
	}
	answered := done.await(t, w, calls)
	executed := at.all()
	for i := range calls {
		if executed[i] != fmt.Sprint(i) {
			t.Fatalf("call %s was executed where %d was due", executed[i], i)
		}
		if want := fmt.Sprintf("call answered PEER %d", i); answered[i] != want {
			t.Fatalf("%q where %q was due", answered[i], want)
		}
	}
}

func callCopies(t T, w *World) {
	var l log
	to := w.Serve(echo)
	args := split("PEER original")
	w.Peers.Call(to, env.Bulk, args, patience, l.outcome("call"))
	copy(args[1], "spoiled!")
	args[0] = nil
	expect(t, l.await(t, w, 1), "call answered PEER original")
}

func callRefused(t T, w *World) {
	var l log
	to := w.Serve(func([][]byte) Answer { return Answer{Error: "ERR no"} })
	call(w, to, "PEER", l.outcome("call"))
	expect(t, l.await(t, w, 1), "call refused ERR no")
}

func callNests(t T, w *World) {
	var l log
	to := w.Serve(echo)
	call(w, to, "PEER 1", func([]byte, error) {
		l.holding(func() { call(w, to, "PEER 2", l.outcome("inner")) })
	})
	expect(t, l.await(t, w, 1), "inner answered PEER 2")
}

func callTimesOut(t T, w *World) {
	var l log
	to := w.Serve(func([][]byte) Answer { return Answer{Silent: true} })
	start := w.Clock.Mono()
	w.Peers.Call(to, env.Control, split("PEER"), 50*time.Millisecond, func(reply []byte, err error) {
		if d := w.Clock.Mono() - start; d < 50*time.Millisecond {
			l.add("early, after %v", d)
		}
		l.outcome("call")(reply, err)
	})
	expect(t, l.await(t, w, 1), "call timeout")
}

func callCut(t T, w *World) {
	var l log
	var silent atomic.Bool
	var reached atomic.Int32
	silent.Store(true)
	to := w.Serve(func(args [][]byte) Answer {
		reached.Add(1)
		if silent.Load() {
			return Answer{Silent: true}
		}
		return echo(args)
	})
	call(w, to, "PEER 1", l.outcome("first"))
	if !w.Until(func() bool { return reached.Load() > 0 }) {
		t.Fatalf("the call did not arrive")
	}
	w.Cut(to)
	expect(t, l.await(t, w, 1), "first link")
	silent.Store(false)
	// A link that was just lost may fail once more; a caller tries again.
	var answered, tried atomic.Int32
	for range 20 {
		n := tried.Add(1)
		ended := atomic.Bool{}
		call(w, to, "PEER 2", func(_ []byte, err error) {
			if err == nil {
				answered.Add(1)
			}
			ended.Store(true)
		})
		if !w.Until(ended.Load) {
			t.Fatalf("try %d after the break did not end", n)
		}
		if answered.Load() > 0 {
			return
		}
	}
	t.Errorf("none of 20 calls after the break was answered")
}

func callNobody(t T, w *World) { callFails(t, w, w.Nobody) }

func callStranger(t T, w *World) { callFails(t, w, w.Stranger) }

func callFails(t T, w *World, to env.Peer) {
	t.Helper()
	var l log
	w.Peers.Call(to, env.Control, split("PEER 1"), time.Second, l.outcome("call"))
	got := l.await(t, w, 1)
	if got[0] != "call link" && got[0] != "call timeout" {
		t.Errorf("%s, want a failed link or a timeout", got[0])
	}
}
