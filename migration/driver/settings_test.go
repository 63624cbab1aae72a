package driver

import (
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
	"godwit/migration"
)

// TestSettings: each setting is read as it is shown, within its bounds, and what is wrong is named with what would be right.
func TestSettings(t *testing.T) {
	var c Config
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, s := range c.Settings() {
		shown[s.Name] = s.Value
		if err := c.Set(s.Name, s.Value); err != nil || s.Usage == "" {
			t.Errorf("%s: the default %s: %v", s.Name, s.Value, err)
		}
	}
	for name, want := range map[string]string{
		"converge-within": "1m0s", "held-at-once": "64", "import-bytes": "67108864", "imports-at-once": "16", "job-memory": "67108864", "jobs-at-once": "4",
		"pause-deadline": "1s", "pause-target": "50ms", "resolve-patience": "30s", "slots-at-once": "4",
	} {
		if shown[name] != want {
			t.Errorf("%s is %q, want %q", name, shown[name], want)
		}
	}
	for _, wrong := range []struct{ name, value, want string }{
		{"pause-target", "50", `pause-target is "50": want a time from 1ms to 1m0s, such as 50ms`},
		{"pause-target", "0s", "from 1ms"}, {"pause-deadline", "2m", "to 1m0s"}, {"converge-within", "-1s", "from 1s to 24h0m0s"}, {"resolve-patience", "100ms", "from 1s to 1h0m0s"},
		{"jobs-at-once", "0", `jobs-at-once is "0": want a whole number from 1 to 256`}, {"slots-at-once", "many", "from 1 to 256"},
		{"import-bytes", "1000", "from 1048576"}, {"imports-at-once", "9999999999999999999999", "to 1024"}, {"held-at-once", "", "from 1"},
		{"speed", "1", `no setting "speed"`},
	} {
		if err := c.Set(wrong.name, wrong.value); err == nil || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%s %q: %v, want %q", wrong.name, wrong.value, err, wrong.want)
		}
	}
	if err := c.CheckSettings(); err != nil {
		t.Error(err)
	}
}

// set changes settings as CONFIG SET does.
func (n *node) set(pairs ...string) error {
	var list []engine.Setting
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, engine.Setting{Name: pairs[i], Value: pairs[i+1]})
	}
	if err := n.driver().CheckSettings(list); err != nil {
		return err
	}
	n.driver().Set(list)
	return nil
}

// TestSettingsTogether: what does not fit together is refused as a whole, in whichever order it is given.
func TestSettingsTogether(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, quick())
	n := w.nodes[0]
	if err := n.set("jobs-at-once", "9", "pause-target", "2s"); err == nil || !strings.Contains(err.Error(), "pause-target is 2s and pause-deadline 1s") {
		t.Errorf("%v", err)
	}
	if err := n.set("pause-target", "2s", "pause-deadline", "3s"); err != nil {
		t.Error(err)
	}
	for _, s := range n.driver().Settings() {
		if want := map[string]string{"jobs-at-once": "4", "pause-target": "2s", "pause-deadline": "3s"}[s.Name]; want != "" && s.Value != want {
			t.Errorf("%s is %s, want %s", s.Name, s.Value, want)
		}
	}
}

// TestSettingsWhileMoving: what is set counts for slots that are on their way, and for jobs that wait.
func TestSettingsWhileMoving(t *testing.T) {
	w := newWorld(t, 3)
	cfg := quick()
	cfg.JobsAtOnce = 1
	w.born(2, cfg)
	n := w.nodes[0]
	for i := range 50 {
		w.cmd("SET", keyOf(i), strings.Repeat("v", 100))
	}
	slow, waits := w.startWith(engine.JobOptions{Throttle: "1kB/s"}, 0, 1, testSlot), w.start(0, 1, 1)
	w.until("the first moves", func() bool { return n.job(slow).Step == "base" && n.job(waits).Position == 1 })
	if err := n.set("jobs-at-once", "2", "pause-deadline", "7s"); err != nil {
		t.Fatal(err)
	}
	w.until("the second moves beside it", func() bool { return n.job(waits).State.Ended() })
	if st := n.job(slow); st.State.Ended() || st.PauseDeadline != 7*time.Second || st.PauseTarget != 50*time.Millisecond {
		t.Errorf("%+v", st)
	}
	// The pause cannot end: it lasts as long as has been set since the slot was begun.
	w.silent = func(from *node, _ [][]byte) bool { return from == n && n.paused(testSlot) }
	w.until("the slot pauses", func() bool { return n.paused(testSlot) })
	began := w.now
	w.until("the pause is given up", func() bool { return !n.paused(testSlot) })
	if took := w.now - began; took < 6900*time.Millisecond || took > 7100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	w.silent = nil
	if st := w.ended(n, slow); st.State != engine.JobSuccess {
		t.Errorf("%+v", st)
	}
}

// TestTimingOfJobs: what a job was started with is the job's, whatever the node's settings become, also after a restart, and is refused if it makes no
// sense.
func TestTimingOfJobs(t *testing.T) {
	w := newWorld(t, 5)
	w.born(2, quick())
	n := w.nodes[0]
	for _, wrong := range []engine.JobOptions{{PauseTarget: time.Hour}, {PauseDeadline: time.Microsecond}, {ConvergeWithin: 25 * time.Hour}, {PauseTarget: 2 * time.Second}} {
		if id, err := n.driver().Start(testRanges, id(1), wrong); err == nil {
			t.Errorf("%+v: started as %v", wrong, id)
		}
	}
	job := w.startWith(engine.JobOptions{Hold: true, PauseTarget: 20 * time.Millisecond, ConvergeWithin: 5 * time.Second}, 0, 1, testSlot)
	want := migration.Timing{PauseTarget: 20 * time.Millisecond, PauseDeadline: time.Second, ConvergeWithin: 5 * time.Second}
	check := func(when string) {
		t.Helper()
		w.until("it is held "+when, func() bool { return n.job(job).Held.Len() == 1 })
		st := n.job(job)
		if got := (migration.Timing{PauseTarget: st.PauseTarget, PauseDeadline: st.PauseDeadline, ConvergeWithin: st.ConvergeWithin}); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
		if got := n.driver().sources[testSlot].timing; got != want {
			t.Errorf("%s the slot has %+v, want %+v", when, got, want)
		}
	}
	check("at first")
	if err := n.set("pause-target", "10ms", "pause-deadline", "4s"); err != nil {
		t.Fatal(err)
	}
	want.PauseDeadline = 4 * time.Second
	w.pass(time.Millisecond)
	check("after the node's settings were changed")
	n.crash()
	want.PauseDeadline = time.Second
	check("after a restart")
}

// TestTargetOfJobWithinDeadlineOfNode: a job's own pause target, which fitted when the job was started, is bounded by the node's deadline when that is
// lowered, and counts again when it is raised; so is the node's target by the deadline of a job.
func TestTargetOfJobWithinDeadlineOfNode(t *testing.T) {
	w := newWorld(t, 5)
	w.born(2, quick())
	n := w.nodes[0]
	target := w.startWith(engine.JobOptions{Hold: true, PauseTarget: 800 * time.Millisecond}, 0, 1, testSlot)
	deadline := w.startWith(engine.JobOptions{Hold: true, PauseDeadline: 200 * time.Millisecond}, 0, 1, 1)
	w.until("both are held", func() bool { return n.job(target).Held.Len() == 1 && n.job(deadline).Held.Len() == 1 })
	check := func(job uint64, sl slot.Slot, target, deadline time.Duration) {
		t.Helper()
		if st := n.job(job); st.PauseTarget != target || st.PauseDeadline != deadline {
			t.Errorf("the job has %s within %s, want %s within %s", st.PauseTarget, st.PauseDeadline, target, deadline)
		}
		if got := n.driver().sources[sl].timing; got.PauseTarget != target || got.PauseDeadline != deadline {
			t.Errorf("the slot has %+v, want %s within %s", got, target, deadline)
		}
	}
	for _, c := range []struct{ setTarget, setDeadline, target, jobTarget time.Duration }{
		{50 * time.Millisecond, time.Second, 800 * time.Millisecond, 50 * time.Millisecond},
		{50 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, 50 * time.Millisecond},
		{400 * time.Millisecond, 3 * time.Second, 800 * time.Millisecond, 200 * time.Millisecond},
	} {
		if err := n.set("pause-target", c.setTarget.String(), "pause-deadline", c.setDeadline.String()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Millisecond)
		check(target, testSlot, c.target, c.setDeadline)
		check(deadline, 1, c.jobTarget, 200*time.Millisecond)
	}
}
