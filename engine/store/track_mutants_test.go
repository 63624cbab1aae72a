//go:build mutants

package store

import (
	"os"
	"os/exec"
	"testing"

	"godwit/engine/mutant"
)

// TestMain switches a mutant on in a child process of TestMutantsFailTests.
func TestMain(m *testing.M) {
	mutant.Set(mutant.Name(os.Getenv("GODWIT_TEST_MUTANT")))
	os.Exit(m.Run())
}

// Each mutant of this package makes the property of the tracker, or of the backlog, fail: the property can see what it is for.
func TestMutantsFailTests(t *testing.T) {
	if os.Getenv("GODWIT_TEST_MUTANT") != "" {
		return
	}
	for property, names := range map[string][]mutant.Name{
		"TestTrackerMissesNothing": {mutant.TrackOverflow, mutant.RangeUntracked, mutant.DeleteLost},
		"TestBacklogIsTransparent": {
			mutant.ReadUnsettled, mutant.SnapUnsettled, mutant.SyncUnsettled, mutant.CommitOvertakes, mutant.BacklogReversed, mutant.BacklogLost,
		},
	} {
		for _, name := range names {
			for _, engine := range []string{"pebble", "memory"} {
				cmd := exec.Command(os.Args[0], "-test.run=^"+property+"$/^"+engine+"$", "-rapid.nofailfile", "-rapid.shrinktime=1s", "-test.timeout=60s")
				cmd.Env = append(os.Environ(), "GODWIT_TEST_MUTANT="+string(name))
				if out, err := cmd.CombinedOutput(); err == nil {
					t.Errorf("on %s, %s passes with the mutant %s:\n%s", engine, property, name, out)
				}
			}
		}
	}
	for name, test := range map[mutant.Name]string{mutant.BlockUnchecked: "TestBlocksAreChecked", mutant.TableEarly: "TestTablesMustBeWhole"} {
		cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
		cmd.Env = append(os.Environ(), "GODWIT_TEST_MUTANT="+string(name))
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s passes with the mutant %s:\n%s", test, name, out)
		}
	}
}
