package engine

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/slot"
)

// The verbs of Redis 8.4, said to the target: CLUSTER MIGRATION IMPORT | STATUS | CANCEL. A task is a job of the source, which is asked for it. The
// target remembers in memory which it has asked for; whoever wants to know more asks the source.

// maxTasks is how many tasks a target remembers. The oldest are forgotten.
const maxTasks = 100

// importTask is a job of another node that this one asked for.
type importTask struct {
	name   string
	source cluster.NodeID
	ranges []slot.Range
	report JobReport // as the source said last
}

// clusterMigration answers CLUSTER MIGRATION.
func (s *Session) clusterMigration(args [][]byte) {
	sub := strings.ToLower(string(args[0]))
	if sub == "import" {
		s.taskImport(args[1:])
		return
	}
	if sub != "status" && sub != "cancel" {
		s.out.Error(errUnknownArgument)
		return
	}
	name := ""
	switch word := strings.ToLower(string(args[1])); {
	case word == "id" && len(args) == 3:
		name = string(args[2])
	case word == "all" && len(args) == 2:
	case word == "id" || word == "all":
		s.out.Error(errArity("cluster|migration"))
		return
	default:
		s.out.Error(errUnknownArgument)
		return
	}
	if sub == "status" {
		s.taskStatus(name)
	} else {
		s.taskCancel(name)
	}
}

// taskImport answers IMPORT start end [start end]...: the owner of the slots is told to move them here. The reply is the task's name.
func (s *Session) taskImport(args [][]byte) {
	n := s.n
	if len(args)%2 != 0 {
		s.out.Error(errArity("cluster|migration"))
		return
	}
	ranges, used, problem := parsePairs(args)
	switch {
	case problem != "":
		s.out.Error(problem)
		return
	case used < len(args):
		s.out.Error(errSlotRange)
		return
	}
	source, problem := n.ownerOfAll(ranges)
	if problem != "" {
		s.out.Error(problem)
		return
	}
	all := slot.SetOf(ranges...)
	peer, ok := n.Peer(source)
	if !ok {
		s.out.Error(errUnknownNode([]byte(source)))
		return
	}
	s.askPeers([]peerQuestion{{peer, peerJobArgs("start", all.String())}}, func(answers []peerAnswer) {
		r, problem := answers[0].job()
		if problem != "" {
			s.out.Error(problem)
			return
		}
		t := importTask{name: taskName(r.Incarnation, r.Counter), source: source, ranges: all.Ranges(), report: r.JobReport}
		n.rememberTask(t)
		s.out.BulkString(t.name)
	})
}

// ownerOfAll is the one other node that owns all slots of some ranges, or what is wrong with them.
func (n *Node) ownerOfAll(ranges []slot.Range) (owner cluster.NodeID, problem string) {
	for _, r := range ranges {
		for sl := int(r.First); sl <= int(r.Last); sl++ {
			switch is := n.Owner(slot.Slot(sl)); {
			case is == "":
				return "", errOwnedBy(slot.Slot(sl), "")
			case is == n.ID():
				return "", errAlreadyMine
			case owner == "":
				owner = is
			case owner != is:
				return "", errSeveralOwners
			}
		}
	}
	return owner, ""
}

func (n *Node) rememberTask(t importTask) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.IndexFunc(n.tasks, func(o importTask) bool { return o.name == t.name }); i >= 0 {
		n.tasks[i] = t
		return
	}
	if n.tasks = append(n.tasks, t); len(n.tasks) > maxTasks {
		n.tasks = slices.Delete(n.tasks, 0, 1)
	}
}

// importTasks are the tasks of this node as target, with those that arrive and were not asked for here, all or the one with a name.
func (n *Node) importTasks(name string) []importTask {
	n.mu.Lock()
	tasks := slices.Clone(n.tasks)
	n.mu.Unlock()
	if n.migrator != nil {
		for _, a := range arrivals(n.migrator.Importing()) {
			t := importTask{name: taskName(a.job.Incarnation, a.job.Counter), source: a.from, ranges: a.slots.Ranges()}
			if !slices.ContainsFunc(tasks, func(o importTask) bool { return o.name == t.name }) {
				tasks = append(tasks, t)
			}
		}
	}
	return slices.DeleteFunc(tasks, func(t importTask) bool { return name != "" && t.name != name })
}

// taskStatus answers STATUS ID name and STATUS ALL: what this node imports, as the sources say now, and what it gives away.
func (s *Session) taskStatus(name string) {
	n := s.n
	tasks := n.importTasks(name)
	s.askTasks(tasks, "status", func([]peerJobReport) {
		var jobs []JobStatus
		if n.migrator != nil {
			jobs = slices.DeleteFunc(slices.Clone(n.migrator.Jobs()), func(j JobStatus) bool {
				return name != "" && taskName(j.ID.Incarnation, j.ID.Counter) != name
			})
		}
		s.out.Array(len(tasks) + len(jobs))
		for i := range tasks {
			t := &tasks[i]
			s.writeTask(t.name, t.ranges, t.source, n.ID(), "import", taskState(&t.report, importStates), &t.report)
		}
		for i := range jobs {
			j := &jobs[i]
			r := j.Report()
			s.writeTask(taskName(j.ID.Incarnation, j.ID.Counter), j.Ranges, n.ID(), j.Target, "migrate", taskState(&r, migrateStates), &r)
		}
	})
}

// taskCancel answers CANCEL ID name and CANCEL ALL: how many tasks were cancelled, of those that this node imports and those by which it gives
// slots away.
func (s *Session) taskCancel(name string) {
	n := s.n
	tasks := slices.DeleteFunc(n.importTasks(name), func(t importTask) bool { return t.report.Ended })
	s.askTasks(tasks, "cancel", func(answers []peerJobReport) {
		cancelled := n.cancelJobs(func(j *JobStatus) bool {
			return name == "" || name == taskName(j.ID.Incarnation, j.ID.Counter)
		})
		for i := range answers {
			if answers[i].Changed {
				cancelled++
			}
		}
		s.dependAlways(n.store.Last())
		s.out.Int(int64(cancelled))
	})
}

// askTasks says a word about each task to its source, and runs then with what the sources answered; the report of a task whose source
// does not answer stays as it was.
func (s *Session) askTasks(tasks []importTask, word string, then func([]peerJobReport)) {
	n := s.n
	var questions []peerQuestion
	var asked []int
	for i := range tasks {
		t := &tasks[i]
		_, counter, ok := parseTaskName(t.name)
		peer, known := n.Peer(t.source)
		if ok && known && !t.report.Ended {
			questions = append(questions, peerQuestion{peer, peerJobArgs(word, strconv.FormatUint(counter, 10))})
			asked = append(asked, i)
		}
	}
	s.askPeers(questions, func(answers []peerAnswer) {
		var reports []peerJobReport
		for i := range answers {
			r, problem := answers[i].job()
			t := &tasks[asked[i]]
			if problem != "" || taskName(r.Incarnation, r.Counter) != t.name { // a source that lost its directory has other jobs
				continue
			}
			t.report = r.JobReport
			reports = append(reports, r)
			n.updateTask(*t)
		}
		then(reports)
	})
}

// updateTask notes what a source said of a task that this node asked for.
func (n *Node) updateTask(t importTask) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.IndexFunc(n.tasks, func(o importTask) bool { return o.name == t.name }); i >= 0 {
		n.tasks[i] = t
	}
}

func peerJobArgs(word, arg string) [][]byte {
	return [][]byte{[]byte("PEER"), []byte("JOB"), []byte(word), []byte(arg)}
}

// peerQuestion is a command to another node, peerAnswer what came of it.
type peerQuestion struct {
	to   env.Peer
	args [][]byte
}

type peerAnswer struct {
	raw []byte
	err error
	is  serverKind // of a node that has refused to be a peer, if that was asked
}

// job reads an answer to PEER JOB, or says as an error reply why there is none.
func (a peerAnswer) job() (r peerJobReport, problem string) {
	var refused *env.RemoteError
	switch {
	case errors.As(a.err, &refused):
		return r, refused.Text
	case a.err != nil:
		return r, errNoAnswer(a.err)
	}
	r, err := parsePeerJob(a.raw)
	if err != nil {
		return r, errNoAnswer(err)
	}
	return r, ""
}

// askPeers leaves the command that runs pending until all questions have been answered, or were given up, and lets then reply. s.mu is held,
// and when then runs.
func (s *Session) askPeers(questions []peerQuestion, then func([]peerAnswer)) {
	s.askPeersFor(handOverTimeout, questions, then)
}

// askPeersFor is askPeers with a timeout of its own.
func (s *Session) askPeersFor(timeout time.Duration, questions []peerQuestion, then func([]peerAnswer)) {
	s.askEach(questions, func(q peerQuestion, done func(peerAnswer)) {
		s.n.opts.Peers.Call(q.to, env.Control, q.args, timeout, func(raw []byte, err error) { done(peerAnswer{raw: raw, err: err}) })
	}, then)
}

// askEach is askPeers with a way of asking of its own.
func (s *Session) askEach(questions []peerQuestion, ask func(q peerQuestion, done func(peerAnswer)), then func([]peerAnswer)) {
	if len(questions) == 0 {
		then(nil)
		return
	}
	p := &parkedCommand{session: s}
	s.pending, s.slot = p, 0
	answers := make([]peerAnswer, len(questions))
	var mu sync.Mutex
	left := len(questions)
	for i, q := range questions {
		ask(q, func(a peerAnswer) {
			mu.Lock()
			answers[i] = a
			left--
			last := left == 0
			mu.Unlock()
			if last {
				s.complete(p, func() { then(answers) })
			}
		})
	}
}

// taskStates are Redis' words for the states of a job seen from one side.
type taskStates struct{ begun, copying, following, handing string }

var (
	importStates  = taskStates{"connecting", "accumulate-buffer", "streaming-buffer", "takeover"}
	migrateStates = taskStates{"wait-bgsave-start", "send-bulk-and-stream", "send-stream", "handoff"}
)

func taskState(r *JobReport, words taskStates) string {
	switch r.State {
	case JobFail:
		if r.Error == CancelledText {
			return "canceled"
		}
		return "failed"
	case JobSuccess, JobClean:
		return "completed"
	case JobSnapshot:
		return words.copying
	case JobWAL:
		switch r.Step {
		case "pausing", "deciding", "committing":
			return words.handing
		}
		return words.following
	case JobStart, JobNone:
	}
	return words.begun
}

// writeTask writes an entry of the reply to STATUS.
func (s *Session) writeTask(name string, ranges []slot.Range, source, dest cluster.NodeID, operation, state string, r *JobReport) {
	s.out.Map(12)
	for _, f := range [...][2]string{
		{"id", name}, {"slots", pairsText(ranges)}, {"source", string(source)}, {"dest", string(dest)},
		{"operation", operation}, {"state", state}, {"last_error", r.Error},
	} {
		s.out.BulkString(f[0])
		s.out.BulkString(f[1])
	}
	pause := 0.0
	for _, p := range r.PausesMs {
		pause = max(pause, p)
	}
	for _, f := range [...]struct {
		name  string
		value int64
	}{{"retries", 0}, {"create_time", r.StartedMs}, {"start_time", r.StartedMs}, {"end_time", r.EndedMs}, {"write_pause_ms", int64(math.Ceil(pause))}} {
		s.out.BulkString(f.name)
		s.out.Int(f.value)
	}
}
