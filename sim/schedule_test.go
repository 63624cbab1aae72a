package sim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"godwit/engine/store"
)

// TestScheduleIsTheSeed runs a seed, and its schedule after a journey through text: the hashes must be equal.
func TestScheduleIsTheSeed(t *testing.T) {
	caches := store.NewCaches()
	for seed := uint64(1); seed <= 6; seed++ {
		want := Run(seed, Config{Caches: caches})
		s := rewrite(t, DrawSchedule(seed))
		got := Run(0, Config{Caches: caches, Schedule: s})
		if got.TraceHash != want.TraceHash || got.Seed != seed {
			t.Errorf("seed %d: its schedule has hash %016x, the seed %016x", seed, got.TraceHash, want.TraceHash)
		}
		if len(got.Actions) == 0 {
			t.Errorf("seed %d: nothing happened", seed)
		}
	}
}

// rewrite writes a schedule as text and reads that.
func rewrite(t *testing.T, s *Schedule) *Schedule {
	t.Helper()
	var text bytes.Buffer
	if err := s.Write(&text, []Action{{Class: "crash", Number: 1}}); err != nil {
		t.Fatal(err)
	}
	read, err := ReadSchedule(&text)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// TestScheduleText checks that nothing is lost between a schedule and its text.
func TestScheduleText(t *testing.T) {
	s := DrawSchedule(7)
	s.Mutant, s.Property = "late-unpause", "digests"
	s.keep["crash"], s.keep["client-0"] = []int{}, []int{1, 5, 9}
	if read := rewrite(t, s); !reflect.DeepEqual(s, read) {
		t.Errorf("got %+v, want %+v", read, s)
	}
}

// TestScheduleRestricts leaves actions out, and demands that they do not happen and that others do.
func TestScheduleRestricts(t *testing.T) {
	s := DrawSchedule(3)
	s.keep["client-0"], s.keep["client-1"] = []int{2}, nil
	r := Run(0, Config{Schedule: s})
	if !r.OK() {
		t.Error(r.Violation)
	}
	count := map[string]int{}
	for _, a := range r.Actions {
		count[a.Class]++
		if a.Class == "client-0" && a.Number != 2 {
			t.Errorf("operation %d of client 0 happened", a.Number)
		}
	}
	if count["client-0"] != 1 || count["client-1"] != 0 || count["client-2"] == 0 || count["job"] == 0 {
		t.Errorf("what happened: %v", count)
	}
}

// TestReadScheduleRefuses gives texts that are no schedules.
func TestReadScheduleRefuses(t *testing.T) {
	var good bytes.Buffer
	if err := DrawSchedule(1).Write(&good, nil); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "godwit-schedule 2\n", "seed 1\n", good.String() + "set nodes 1\n", good.String() + "set drop NaN\n", good.String() + "set drop 1.5\n",
		good.String() + "set safety -1s\n", good.String() + "set nothing 1\n", good.String() + "keep crash 0\n", good.String() + "keep crash x\n",
		good.String() + "seed -1\n", good.String() + "set jobs 0s\n", scheduleHeader + "\nseed 1\n",
	} {
		if _, err := ReadSchedule(strings.NewReader(text)); !errors.Is(err, ErrSchedule) {
			t.Errorf("the text that ends with %q: %v", text[max(0, len(text)-30):], err)
		}
	}
}

// TestSettingsComplete demands that the text of a schedule knows every setting of a swarm.
func TestSettingsComplete(t *testing.T) {
	var s swarm
	known := map[uintptr]string{}
	for _, f := range s.settings() {
		known[reflect.ValueOf(f.value).Pointer()] = f.name
	}
	base := reflect.ValueOf(&s).Elem()
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(v.Field(i), name+"."+v.Type().Field(i).Name)
			}
			return
		}
		if v.Kind() == reflect.Func || v.Kind() == reflect.String || v.Addr().Pointer() == reflect.ValueOf(&s.driver.Spoil).Pointer() {
			return // no swarm draws hooks of tests, limits that operators give in words, or what each process sets
		}
		if known[v.Addr().Pointer()] == "" {
			t.Errorf("swarm%s is missing in (*swarm).settings: schedules would lose it", name)
		}
	}
	walk(base, "")
}

// TestSchedules runs what was shrunk: the correct code passes. With the tag "mutants" TestSchedulesFind demands more.
func TestSchedules(t *testing.T) {
	for path, s := range schedules(t) {
		if r := Run(0, Config{Schedule: s}); !r.OK() {
			t.Errorf("%s: %v", path, r.Violation)
		}
	}
}

// schedules reads testdata.
func schedules(t *testing.T) map[string]*Schedule {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.schedule")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no schedules (%v)", err)
	}
	out := map[string]*Schedule{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if out[path], err = ReadSchedule(bytes.NewReader(raw)); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return out
}
