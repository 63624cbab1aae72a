package driver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"godwit/engine/resp"
)

// verbScript is two nodes, of which operators tell a what to do with its slots. In what is said, SLOT is the slot that has records, 1 to 3 are
// slots without, and A and B are the ids of the nodes.
type verbScript struct {
	w *world
	m shadow
}

func (sc *verbScript) start(t *testing.T, d *datadriven.TestData) string {
	if sc.w != nil {
		sc.w.close()
	}
	cfg := quick()
	records := 40
	d.MaybeScanArgs(t, "records", &records)
	d.MaybeScanArgs(t, "jobs-at-once", &cfg.JobsAtOnce)
	d.MaybeScanArgs(t, "slots-at-once", &cfg.SlotsAtOnce)
	sc.w = newWorld(t, 1)
	sc.w.inOrder = true
	sc.w.born(2, cfg)
	sc.m = shadow{}
	for i := range records {
		sc.m.set(sc.w, i, strings.Repeat("v", 100))
	}
	return ""
}

// tell sends each line to a node and shows the answer; of JSON without what is 0, empty or not the same in each run.
func (sc *verbScript) tell(d *datadriven.TestData) string {
	n := sc.w.nodes[int(d.CmdArgs[0].Key[0]-'a')]
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		for i, word := range words {
			switch word {
			case "SLOT":
				words[i] = fmt.Sprint(testSlot)
			case "A", "B":
				words[i] = string(id(int(word[0] - 'A')))
			}
		}
		out.WriteString(showReply(sc.w.do(n, words...)) + "\n")
	}
	return out.String()
}

func showReply(v resp.Value) string {
	var doc any
	if v.Kind == resp.ErrorKind || json.Unmarshal([]byte(v.Str), &doc) != nil {
		return v.String()
	}
	if _, number := doc.(float64); number {
		return v.String()
	}
	b, _ := json.MarshalIndent(short(doc), "", " ") // it was read from JSON
	text := strings.NewReplacer(fmt.Sprint(testSlot), "SLOT", string(id(0)), "A", string(id(1)), "B").Replace(string(b))
	return text
}

// short leaves out of a document what says nothing, and what hangs on the clock or on the sizes of messages.
func short(doc any) any {
	switch v := doc.(type) {
	case map[string]any:
		for _, k := range []string{"started_ms", "ended_ms", "id", "memory_bytes", "memory_most_bytes"} {
			delete(v, k)
		}
		for k, item := range v {
			switch item {
			case nil, "", 0.0, false:
				delete(v, k)
				continue
			}
			switch item := item.(type) {
			case []any:
				if len(item) == 0 {
					delete(v, k)
				}
			}
			if _, kept := v[k]; kept {
				v[k] = short(v[k])
			}
		}
	case []any:
		for i := range v {
			v[i] = short(v[i])
		}
	}
	return doc
}

// wait lets time pass until the job is at a step, or, for the step "ended", over.
func (sc *verbScript) wait(t *testing.T, d *datadriven.TestData) string {
	var step string
	job := uint64(1)
	d.ScanArgs(t, "step", &step)
	d.MaybeScanArgs(t, "job", &job)
	n := sc.w.nodes[int(d.CmdArgs[0].Key[0]-'a')]
	sc.w.until(step, func() bool {
		st := n.job(job)
		return st.Step == step || step == "ended" && st.State.Ended()
	})
	return ""
}

// TestVerbScripts: a script for each verb shows what it does and answers, told once and told again.
func TestVerbScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/verbs", func(t *testing.T, path string) {
		sc := &verbScript{}
		defer func() { sc.w = nil }()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new":
				return sc.start(t, d)
			case "tell":
				return sc.tell(d)
			case "wait":
				return sc.wait(t, d)
			case "pass":
				var text string
				d.ScanArgs(t, "for", &text)
				long, err := time.ParseDuration(text)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				sc.w.pass(long)
				return ""
			case "write":
				for i := range 10 {
					sc.m.set(sc.w, i, d.CmdArgs[0].Key)
				}
				return ""
			case "crash":
				sc.w.nodes[int(d.CmdArgs[0].Key[0]-'a')].crash()
				return ""
			case "owner":
				n := sc.w.nodes[int(d.CmdArgs[0].Key[0]-'a')]
				if s := n.Serving(); !s.Has(testSlot) {
					return "another node serves the slot\n"
				}
				sc.m.check(sc.w, n)
				return fmt.Sprintf("it serves the slot, with all %d keys as they were written\n", len(sc.m))
			default:
				d.Fatalf(t, "no such command: %s", d.Cmd)
				return ""
			}
		})
	})
}

// TestVerbScriptsComplete: there is a script for each verb.
func TestVerbScriptsComplete(t *testing.T) {
	var have []string
	datadriven.Walk(t, "testdata/verbs", func(_ *testing.T, path string) {
		have = append(have, strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".txt"))
	})
	for _, verb := range []string{"plan", "start", "status", "pause", "resume", "cutover", "cancel", "rollback", "clean", "history", "report", "throttle", "resolve"} {
		if !slices.Contains(have, verb) {
			t.Errorf("no script for %s", verb)
		}
	}
}
