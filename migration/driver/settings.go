package driver

import (
	"fmt"
	"strconv"
	"time"

	"godwit/engine"
	"godwit/migration"
)

// setting is a field of Config that operators may set, when the server is started and while it runs. Driver.mu guards those fields.
type setting struct {
	name, usage string
	// field is a *time.Duration or an *int; min and max bound it, as nanoseconds or as a number.
	field    any
	min, max int64
}

// settings lists what operators may set of a configuration, by the names that flags and CONFIG have for it.
func (c *Config) settings() []setting {
	s := &c.Source
	return []setting{
		{"converge-within", "fail a job one of whose slots has been written faster than it can be sent for this `TIME`", &s.ConvergeWithin, int64(time.Second), int64(24 * time.Hour)},
		{"held-at-once", "let at most `N` slots of a job wait, copied, to be told to cut over", &c.HeldAtOnce, 1, 16384},
		{"import-bytes", "tell sources to wait while `N` bytes of what they sent are not on the disk yet", &c.ImportBytes, 1 << 20, 1 << 36},
		{"imports-at-once", "let at most `N` slots arrive from other nodes at a time", &c.ImportsAtOnce, 1, 1024},
		{"job-memory", "let all slots of a job that move hold at most `N` bytes of messages, tables and changed keys", &c.JobMemory, 8 << 20, 1 << 36},
		{"jobs-at-once", "let at most `N` jobs move slots at a time", &c.JobsAtOnce, 1, 256},
		{"pause-deadline", "give the pause of a slot's writers up after this `TIME`, and try again later", &s.PauseDeadline, int64(10 * time.Millisecond), int64(time.Minute)},
		{"pause-target", "hand a slot over when what is left to send takes at most this `TIME`", &s.PauseTarget, int64(time.Millisecond), int64(time.Minute)},
		{"resolve-patience", "resolve a handoff only when the other node was silent for this `TIME` while it was asked", &c.ResolvePatience, int64(time.Second), int64(time.Hour)},
		{"slots-at-once", "let at most `N` slots of a job move at a time", &c.SlotsAtOnce, 1, 256},
	}
}

func (s *setting) String() string {
	if d, ok := s.field.(*time.Duration); ok {
		return d.String()
	}
	return strconv.Itoa(*s.field.(*int))
}

// set reads a value into the field.
func (s *setting) set(value string) error {
	d, isTime := s.field.(*time.Duration)
	if !isTime {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < s.min || n > s.max {
			return fmt.Errorf("%s is %q: want a whole number from %d to %d", s.name, value, s.min, s.max)
		}
		*s.field.(*int) = int(n)
		return nil
	}
	t, err := time.ParseDuration(value)
	if err != nil || int64(t) < s.min || int64(t) > s.max {
		return fmt.Errorf("%s is %q: want a time from %s to %s, such as %s", s.name, value, time.Duration(s.min), time.Duration(s.max), *d)
	}
	*d = t
	return nil
}

// SettingInfo describes a setting for a command line.
type SettingInfo struct{ Name, Usage, Value string }

// Settings lists what operators may set of a configuration that has been validated, and what it is.
func (c *Config) Settings() []SettingInfo {
	var out []SettingInfo
	for _, s := range c.settings() {
		out = append(out, SettingInfo{s.name, s.usage, s.String()})
	}
	return out
}

// Set sets one of Settings. The error names the setting, the value and what would be right.
func (c *Config) Set(name, value string) error {
	for _, s := range c.settings() {
		if s.name == name {
			return s.set(value)
		}
	}
	return fmt.Errorf("there is no setting %q of moves", name)
}

// CheckSettings says what is wrong with settings that do not fit together.
func (c *Config) CheckSettings() error { return checkTiming(c.Source.Timing()) }

func checkTiming(t migration.Timing) error {
	if t.PauseTarget > t.PauseDeadline {
		return fmt.Errorf("pause-target is %s and pause-deadline %s: pauses would be begun that cannot end in time; want a target of at most the deadline", t.PauseTarget, t.PauseDeadline)
	}
	return nil
}

// Settings implements engine.Migrator.
func (d *Driver) Settings() []engine.Setting {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []engine.Setting
	for _, s := range d.cfg.settings() {
		out = append(out, engine.Setting{Name: s.name, Value: s.String()})
	}
	return out
}

// CheckSettings implements engine.Migrator.
func (d *Driver) CheckSettings(list []engine.Setting) error {
	d.mu.Lock()
	cfg := d.cfg
	d.mu.Unlock()
	for _, s := range list {
		if err := cfg.Set(s.Name, s.Value); err != nil {
			return err
		}
	}
	return cfg.CheckSettings()
}

// Set implements engine.Migrator. Slots that are on their way go on by what is set.
func (d *Driver) Set(list []engine.Setting) {
	d.mu.Lock()
	for _, s := range list {
		if err := d.cfg.Set(s.Name, s.Value); err != nil {
			panic(err) // CheckSettings was asked
		}
		d.env.Log.Info("a setting of moves was changed", "name", s.Name, "value", s.Value)
	}
	for _, j := range d.jobs {
		j.memory.setLimit(d.cfg.JobMemory)
	}
	for _, sl := range sortedSlots(d.sources) {
		s := d.sources[sl]
		t := s.job.timing()
		s.enqueue(queued{step: func() { s.retime(t) }}) // a queue's mutex nests in Driver.mu
	}
	d.mu.Unlock()
	d.env.Workers.Submit(d.pumpJobs)
}

// timing is what counts for a job: its own where it has it, the node's otherwise. They fitted together when the job was started, and may not
// since the node's were changed: the deadline bounds the target then. Driver.mu is held.
func (j *job) timing() migration.Timing {
	t := j.d.cfg.Source.Timing()
	own := func(v *time.Duration, us int64) {
		if us > 0 {
			*v = time.Duration(us) * time.Microsecond
		}
	}
	own(&t.PauseTarget, j.header.PauseTargetUs)
	own(&t.PauseDeadline, j.header.PauseDeadlineUs)
	own(&t.ConvergeWithin, j.header.ConvergeWithinUs)
	t.PauseTarget = min(t.PauseTarget, t.PauseDeadline)
	return t
}

// retime lets the slot go on by other times.
func (s *sourceSlot) retime(t migration.Timing) {
	s.timing = t
	s.machine.Retime(t)
}

// ownTiming puts the times that a job was started with into its header, if they make sense.
func (d *Driver) ownTiming(h *header, o *engine.JobOptions) error {
	d.mu.Lock()
	cfg := d.cfg
	d.mu.Unlock()
	given := false
	for _, own := range []struct {
		name  string
		value time.Duration
		us    *int64
	}{
		{"pause-target", o.PauseTarget, &h.PauseTargetUs}, {"pause-deadline", o.PauseDeadline, &h.PauseDeadlineUs}, {"converge-within", o.ConvergeWithin, &h.ConvergeWithinUs},
	} {
		if own.value == 0 {
			continue
		}
		if err := cfg.Set(own.name, own.value.String()); err != nil {
			return err
		}
		*own.us = own.value.Microseconds()
		given = true
	}
	if !given {
		return nil
	}
	return cfg.CheckSettings()
}
