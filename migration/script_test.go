package migration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"godwit/engine/cluster"
)

const scriptTarget = cluster.Incarnation(7)

// script steps a source's machine with the events of a script, one a line, and shows every effect.
type script struct {
	s   *Source
	now time.Duration
	// seen collects the transitions that happened.
	seen map[[2]Step]bool
}

var scriptJob = cluster.JobID{Node: "source", Incarnation: 1, Counter: 3}

// start makes the machine; arguments set what differs from the defaults.
func (sc *script) start(t *testing.T, d *datadriven.TestData) string {
	cfg := Config{RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond}
	attempt := 0
	d.MaybeScanArgs(t, "attempt", &attempt)
	d.MaybeScanArgs(t, "window", &cfg.WindowBytes)
	d.MaybeScanArgs(t, "pauses", &cfg.Pauses)
	d.MaybeScanArgs(t, "rounds", &cfg.Rounds)
	d.MaybeScanArgs(t, "abort-tries", &cfg.AbortTries)
	if err := cfg.Validate(); err != nil {
		d.Fatalf(t, "%v", err)
	}
	sc.now = 0
	sc.s = NewSource(cfg, 5, scriptJob, 4, cluster.Attempt(attempt), 0)
	return ""
}

func (sc *script) step(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		line = strings.TrimSpace(line)
		if at, ok := strings.CutPrefix(line, "at "); ok {
			now, err := time.ParseDuration(at)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			sc.now = now
			continue
		}
		ev := sc.event(t, d, strings.Fields(line))
		before, _ := sc.s.Now()
		effects := slices.Clone(sc.s.Step(sc.now, ev))
		after, round := sc.s.Now()
		if before != after || slices.ContainsFunc(effects, isNewAttempt) {
			sc.seen[[2]Step{before, after}] = true
		}
		fmt.Fprintf(&out, "%s\n", line)
		for _, ef := range effects {
			fmt.Fprintf(&out, "    %s\n", showEffect(ef))
		}
		if before != after {
			where := after.String()
			if after == StepCopying || after == StepPausing {
				where += ", round " + round.String()
			}
			fmt.Fprintf(&out, "  %s, attempt %d\n", where, sc.s.Attempt())
		}
	}
	return out.String()
}

// isNewAttempt tells that a step was entered again.
func isNewAttempt(ef Effect) bool {
	p, ok := ef.(EfPersist)
	return ok && p.Phase == PhaseActive
}

// event reads an event: a name and words. What is not said is what the target would say to the current attempt.
func (sc *script) event(t *testing.T, d *datadriven.TestData, words []string) Event {
	s := sc.s
	number := func(name string, other uint64) uint64 {
		for _, w := range words[1:] {
			if text, ok := strings.CutPrefix(w, name+"="); ok {
				n, err := strconv.ParseUint(text, 10, 64)
				if err != nil {
					d.Fatalf(t, "%v: %v", words, err)
				}
				return n
			}
		}
		return other
	}
	has := func(word string) bool { return slices.Contains(words[1:], word) }
	attempt := cluster.Attempt(number("attempt", uint64(s.Attempt())))
	seq := number("seq", s.seq)
	reply := func(to MessageKind, kind ReplyKind) Event {
		return EvReply{Message: to, Attempt: attempt, Seq: seq, Reply: Reply{
			Kind: kind, Attempt: attempt, Seq: seq, Hash: s.hash, Incarnation: cluster.Incarnation(number("incarnation", uint64(scriptTarget))),
			Fresh: has("fresh"), Differ: has("differ"), Text: "because",
		}}
	}
	kindOf := func(word string) MessageKind {
		i := slices.Index(messageNames[:], word)
		if i < 1 {
			d.Fatalf(t, "%v: no such message", words)
		}
		return MessageKind(i)
	}
	switch words[0] {
	case "begin":
		return EvBegin{}
	case "recover":
		i := slices.Index([]string{"pending", "active", "decided", "committed", "cleaning", "done", "aborting", "failed", "keeping", "returning"}, words[1])
		if i < 0 {
			d.Fatalf(t, "%v: no such phase", words)
		}
		return EvRecover{Phase: Phase(i)}
	case "persisted":
		return EvPersisted{Attempt: attempt}
	case "open":
		return EvRoundOpen{}
	case "data": // data BODY [asks=BYTES] [last] [await], or data last
		if words[1] == "last" {
			return EvData{Last: true}
		}
		return EvData{Body: []byte(words[1]), Asks: int(number("asks", 0)), Last: has("last"), Await: has("await")}
	case "lag":
		return EvLag{Keys: int(number("keys", 0)), Spans: int(number("spans", 0)), LagBytes: int64(number("bytes", 0)), Final: time.Duration(number("final-ms", 0)) * time.Millisecond}
	case "started":
		return reply(MsgStart, ReplyStarted)
	case "ack":
		return reply(MsgData, ReplyAck)
	case "busy": // busy MESSAGE
		return reply(kindOf(words[1]), ReplyBusy)
	case "gap":
		return reply(MsgData, ReplyGap)
	case "prepared":
		ev := reply(MsgPrepare, ReplyPrepared).(EvReply)
		if has("other-hash") {
			ev.Reply.Hash[0]++
		}
		return ev
	case "serving":
		return reply(MsgCommit, ReplyServing)
	case "committed":
		return reply(MsgCommit, ReplyCommitted)
	case "aborted":
		return reply(MsgAbort, ReplyAborted)
	case "no-import": // no-import MESSAGE
		return reply(kindOf(words[1]), ReplyNoImport)
	case "refused":
		return reply(kindOf(words[1]), ReplyRefused)
	case "unanswered": // unanswered MESSAGE
		return EvSendFailed{Message: kindOf(words[1]), Attempt: attempt, Seq: seq, Err: "no answer"}
	case "timer":
		k := TimerRetry
		if has("pause") {
			k = TimerPause
		}
		return EvTimer{Timer: k, Generation: uint32(number("generation", uint64(s.generations[k])))}
	case "park-limit":
		return EvParkLimit{}
	case "decided":
		return EvDecided{}
	case "overruled":
		return EvOverruled{Why: "not served"}
	case "confirmed":
		return EvConfirmed{Outcome: map[string]ConfirmOutcome{"equal": ConfirmEqual, "differ": ConfirmDiffer, "gone": ConfirmGone}[words[1]]}
	case "cleaned":
		return EvCleaned{}
	case "cancel":
		return EvCancel{Why: "cancelled"}
	case "orders": // orders [hold] [suspend] [keep] [return] [compare] [slow]
		return EvOrders{Orders{Hold: has("hold"), Suspend: has("suspend"), Keep: has("keep"), Return: has("return"), Compare: has("compare"), Slow: has("slow")}}
	case "keep-over":
		return EvKeepOver{}
	case "replaced":
		return EvReplaced{}
	case "returning":
		return reply(MsgReturn, ReplyReturning)
	default:
		d.Fatalf(t, "no such event: %v", words)
		return nil
	}
}

func showEffect(ef Effect) string {
	switch e := ef.(type) {
	case EfSend:
		m := e.Message
		text := fmt.Sprintf("send %s attempt=%d", m.Kind, m.Attempt)
		switch m.Kind {
		case MsgStart:
			if text += fmt.Sprintf(" epoch=%d", m.Epoch); m.Fresh {
				text += " fresh"
			}
		case MsgData:
			text += fmt.Sprintf(" seq=%d %s", m.Seq, m.Body)
			if m.Urgent {
				text += " urgent"
			}
		case MsgPrepare:
			text += fmt.Sprintf(" seq=%d hash=%x…", m.Seq, m.Hash[:4])
		case MsgCommit:
			text += fmt.Sprintf(" epoch=%d", m.Epoch)
		default:
		}
		return text
	case EfPersist:
		return fmt.Sprintf("persist attempt=%d %s", e.Attempt, phaseNames[e.Phase])
	case EfTimer:
		return fmt.Sprintf("timer %s after %s", [...]string{"retry", "pause"}[e.Timer], e.After)
	case EfSlow:
		return fmt.Sprintf("slow level=%d", e.Level)
	case EfOpenRound:
		return "open round " + e.Kind.String()
	case EfSent:
		return fmt.Sprintf("covers seq=%d", e.Seq)
	case EfFree:
		return fmt.Sprintf("free seq=%d", e.Seq)
	case EfRedo:
		return fmt.Sprintf("redo seq=%d", e.Seq)
	case EfNotReturned:
		return "not returned: " + e.Why
	default:
		return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", ef), "migration.Ef"), "{}"))
	}
}

// TestSourceScripts runs the scripts, and requires that together they take every transition of the table and no other.
func TestSourceScripts(t *testing.T) {
	sc := &script{seen: map[[2]Step]bool{}}
	datadriven.Walk(t, "testdata/source", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new":
				return sc.start(t, d)
			case "step":
				return sc.step(t, d)
			case "why":
				return sc.s.Reason() + "\n"
			case "waiting":
				return sc.s.Waiting() + "\n"
			default:
				d.Fatalf(t, "no such command: %s", d.Cmd)
				return ""
			}
		})
	})
	for from := StepIdle; from <= StepFailed; from++ {
		for to := StepIdle; to <= StepFailed; to++ {
			switch {
			case allowed(from, to) && !sc.seen[[2]Step{from, to}]:
				t.Errorf("no script goes from %s to %s", from, to)
			case !allowed(from, to) && sc.seen[[2]Step{from, to}]:
				t.Errorf("a script goes from %s to %s, which the table does not have", from, to)
			}
		}
	}
}
