package engine

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/key"
	"godwit/engine/slot"
)

// NodeReport is what GODWIT STATUS answers, as JSON.
type NodeReport struct {
	ID          cluster.NodeID `json:"id"`
	Incarnation string         `json:"incarnation"`
	Version     string         `json:"version"`
	MapVersion  int64          `json:"map_version"` // -1 without a map
	MapHash     string         `json:"map_hash"`    // 16 hex digits
	// Serving is the slots that this node serves, as ranges: "0-5460 7000".
	Serving string `json:"serving"`
	// States counts the slots by the state of their record; those never had to do with are left out.
	States map[string]int `json:"states"`
	// Differing is the slots of which record and map disagree: served here but given to another, or the reverse.
	Differing string         `json:"differing"`
	Alarms    []string       `json:"alarms"`
	Jobs      []JobReport    `json:"jobs"`
	Imports   []ImportReport `json:"imports"`
}

// JobReport is a job, as GODWIT MIGRATION STATUS answers it in JSON.
type JobReport struct {
	Counter      uint64         `json:"counter"`
	ID           string         `json:"id"`
	Target       cluster.NodeID `json:"target"`
	Ranges       string         `json:"ranges"`
	State        JobState       `json:"state"`
	Step         string         `json:"step"`
	Error        string         `json:"error"`
	Waiting      string         `json:"waiting"` // for operators, other jobs or a limit; "" if it does not
	Priority     int            `json:"priority"`
	Throttle     string         `json:"throttle"` // the job's own limit, "" if it has none
	Position     int            `json:"position"` // among the jobs that wait for others, from 1; 0: it does not
	Slots        int            `json:"slots"`
	Moved        string         `json:"moved"`
	MovedSlots   int            `json:"moved_slots"`
	Records      uint64         `json:"records_sent"`
	Bytes        uint64         `json:"bytes_sent"`
	Percent      float64        `json:"percent"`
	RateBytes    int64          `json:"rate_bytes"` // that are sent or compared in a second
	LeftMs       int64          `json:"left_ms"`    // until the end, by the time so far; 0: nobody knows
	LagKeys      int            `json:"lag_keys"`
	LagBytes     int64          `json:"lag_bytes"`
	PausesMs     []float64      `json:"pauses_ms"`
	GivenUp      int            `json:"pauses_given_up"` // since the node was started
	Verified     string         `json:"verified"`
	DigestsEqual int            `json:"digests_equal"`
	Differ       int            `json:"digests_differing"`
	StartedMs    int64          `json:"started_ms"`
	EndedMs      int64          `json:"ended_ms"` // 0 while the job lives
	Ended        bool           `json:"ended"`
	Held         string         `json:"held"`        // slots that wait for CUTOVER
	Kept         string         `json:"kept"`        // slots whose copies the source keeps for ROLLBACK
	RollbackOf   string         `json:"rollback_of"` // the job that this one undoes, or ""
	Payload      string         `json:"payload"`     // auto, raw, command or sst
	TableSlots   int            `json:"table_slots"` // whose base was sent as sorted tables
	// Memory is what the job's slots hold of their own at this moment, in bytes, and MemoryMost what they held at most since the node was started.
	Memory     int `json:"memory_bytes"`
	MemoryMost int `json:"memory_most_bytes"`
	// PauseTargetMs, PauseDeadlineMs and ConvergeWithinMs are what counts for the job: its own, or the node's.
	PauseTargetMs    float64 `json:"pause_target_ms"`
	PauseDeadlineMs  float64 `json:"pause_deadline_ms"`
	ConvergeWithinMs float64 `json:"converge_within_ms"`
}

// ImportReport is a slot that is arriving.
type ImportReport struct {
	Slot    slot.Slot      `json:"slot"`
	State   string         `json:"state"`
	From    cluster.NodeID `json:"from"`
	Job     string         `json:"job"`
	Attempt uint32         `json:"attempt"`
	Epoch   uint64         `json:"epoch"`
}

// OwnerReport is the ownership record of a slot, as GODWIT OWNERS answers it in JSON.
type OwnerReport struct {
	Slot  slot.Slot     `json:"slot"`
	State string        `json:"state"`
	Epoch cluster.Epoch `json:"epoch"`
	// DiskBytes estimates what the slot takes on the disk of a node that serves it; it does not count what has not left memory yet.
	// Only with SIZES.
	DiskBytes uint64 `json:"disk_bytes,omitempty"`
	// Writes and Reads count the commands that have written to the slot, and that have only read it, since the node was opened; reads are counted
	// roughly. Only with LOAD.
	Writes uint64 `json:"writes,omitempty"`
	Reads  uint64 `json:"reads,omitempty"`
}

// Report is the job in the form that is sent.
func (j JobStatus) Report() JobReport {
	all := slot.SetOf(j.Ranges...)
	pauses := j.PausesMs
	if pauses == nil {
		pauses = []float64{}
	}
	payload := string(j.Payload)
	if j.Payload == PayloadAuto {
		payload = "auto"
	}
	rollbackOf := ""
	if !j.RollbackOf.IsZero() {
		rollbackOf = j.RollbackOf.String()
	}
	return JobReport{
		Counter: j.ID.Counter, ID: j.ID.String(), Target: j.Target, Ranges: all.String(), State: j.State, Step: j.Step, Error: j.Error,
		Slots: j.Slots, Moved: j.Moved.String(), MovedSlots: j.Moved.Len(), Records: j.Records, Bytes: j.Bytes,
		LagKeys: j.LagKeys, LagBytes: j.LagByte, PausesMs: pauses, Verified: j.Verified,
		DigestsEqual: j.DigestsEqual, Differ: j.Differ, StartedMs: j.StartedMs, EndedMs: j.EndedMs, Ended: j.State.Ended(),
		Waiting: j.Waiting, Held: j.Held.String(), Kept: j.Kept.String(), RollbackOf: rollbackOf,
		Priority: j.Priority, GivenUp: j.PausesGivenUp, Percent: j.Percent, RateBytes: j.RateBytes, LeftMs: j.LeftMs, Position: j.Position, Throttle: j.Throttle, Payload: payload, TableSlots: j.Tables,
		Memory: j.Memory, MemoryMost: j.MemoryMost,
		PauseTargetMs: inMs(j.PauseTarget), PauseDeadlineMs: inMs(j.PauseDeadline), ConvergeWithinMs: inMs(j.ConvergeWithin),
	}
}

func inMs(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Report describes the node: what it is, serves and moves.
func (n *Node) Report() NodeReport {
	m := n.topology()
	r := NodeReport{
		ID: n.ID(), Incarnation: n.incarnation.String(), Version: n.opts.Version,
		MapVersion: m.Version, MapHash: padHex(m.Hash()),
		States: map[string]int{}, Alarms: n.Alarms(), Jobs: []JobReport{}, Imports: []ImportReport{},
	}
	if r.Alarms == nil {
		r.Alarms = []string{}
	}
	var serving, differing slot.Set
	for sl := range slot.Slot(slot.Count) {
		state := n.Record(sl).State
		if state != cluster.None {
			r.States[state.String()]++
		}
		owner := m.Owner(sl)
		mine := owner != nil && owner.ID == r.ID
		if state == cluster.Serving {
			serving.Add(sl)
		}
		if mine != (state == cluster.Serving) {
			differing.Add(sl)
		}
	}
	r.Serving, r.Differing = serving.String(), differing.String()
	if n.migrator == nil {
		return r
	}
	for _, j := range n.migrator.Jobs() {
		r.Jobs = append(r.Jobs, j.Report())
	}
	for _, i := range n.migrator.Importing() {
		r.Imports = append(r.Imports, ImportReport{
			Slot: i.Slot, State: i.Record.State.String(), From: i.Record.Peer, Job: i.Record.Job.String(),
			Attempt: uint32(i.Record.Attempt), Epoch: uint64(i.Record.Epoch),
		})
	}
	return r
}

func padHex(v uint64) string {
	text := strconv.FormatUint(v, 16)
	return strings.Repeat("0", 16-len(text)) + text
}

// runGodwit runs the subcommands of GODWIT, which the command line uses.
func (s *Session) runGodwit(spec *command.Spec, args [][]byte) {
	n := s.n
	if !n.opts.Cluster {
		s.out.Error(cluster.ErrNotEnabled.Reply())
		return
	}
	s.dependOn(n.store.Last(), false)
	switch spec.Name {
	case "godwit|status":
		s.writeJSON(n.Report())
	case "godwit|owners":
		s.owners(args[2:])
	case "godwit|migration":
		s.runMigration(args[2:])
	case "godwit|digest":
		s.runDigest(args[2:])
	case "godwit|verify":
		s.runVerify(args[2:])
	default:
		s.out.Error(errNotHere(spec.Name))
	}
}

// owners answers GODWIT OWNERS ranges [SIZES|LOAD].
func (s *Session) owners(args [][]byte) {
	ranges, err := slot.ParseRanges(string(args[0]))
	sizes := len(args) == 2 && strings.EqualFold(string(args[1]), "sizes")
	load := len(args) == 2 && strings.EqualFold(string(args[1]), "load")
	switch {
	case err != nil:
		s.out.Error("ERR " + err.Error())
		return
	case len(args) > 1 && !sizes && !load:
		s.out.Error("ERR want GODWIT OWNERS <ranges> [SIZES|LOAD]")
		return
	}
	set := slot.SetOf(ranges...)
	reports := make([]OwnerReport, 0, set.Len())
	for _, sl := range set.Slots() {
		r := s.n.Record(sl)
		report := OwnerReport{Slot: sl, State: r.State.String(), Epoch: r.Epoch}
		if sizes && r.State == cluster.Serving {
			if report.DiskBytes, err = s.n.store.DiskBytes(key.SlotSpan(sl)); err != nil {
				s.out.Error("ERR the size of slot " + strconv.Itoa(int(sl)) + " is not known: " + err.Error())
				return
			}
		}
		if load && r.State == cluster.Serving {
			report.Writes, report.Reads = s.n.slotLoad(sl)
		}
		reports = append(reports, report)
	}
	s.writeJSON(reports)
}

// runMigration runs the subcommands of GODWIT MIGRATION. CUTOVER, PAUSE, RESUME, CANCEL, ROLLBACK and CLEAN answer a JobAnswer, STATUS
// a JobReport or a list of them, as JSON; START answers the counter of the job.
func (s *Session) runMigration(args [][]byte) {
	sub := strings.ToLower(string(args[0]))
	if s.n.migrator == nil {
		s.out.Error(errNoMigrator)
		return
	}
	switch {
	case sub == "start" && len(args) >= 3:
		s.startMigration(args[1:])
	case sub == "status" && len(args) == 1:
		reports := []JobReport{}
		for _, j := range s.n.migrator.Jobs() {
			reports = append(reports, j.Report())
		}
		s.writeJSON(reports)
	case sub == "status" && len(args) == 2:
		s.jobStatus(args[1])
	case sub == "plan" && len(args) >= 3:
		s.planMigration(args[1:])
	case sub == "throttle" && len(args) >= 2:
		s.throttle(args[1:])
	case sub == "history" && len(args) == 2:
		s.jobHistory(args[1])
	case sub == "report" && len(args) == 2:
		s.jobReport(args[1])
	case sub == "resolve" && len(args) <= 2:
		s.listWaiting(args[1:])
	case sub == "resolve" && len(args) == 4:
		s.resolve(args[1:])
	case sub == "help" && len(args) == 1:
		s.out.Array(len(migrationHelp))
		for _, line := range migrationHelp {
			s.out.Simple(line)
		}
	case jobVerbs[JobVerb(sub)] && (len(args) == 2 || len(args) == 3 && JobVerb(sub) == VerbCutOver):
		s.tellJob(JobVerb(sub), args[1:])
	default:
		s.out.Error(errMigration)
	}
}

// jobVerbs are the verbs that GODWIT MIGRATION has.
var jobVerbs = map[JobVerb]bool{VerbPause: true, VerbResume: true, VerbCutOver: true, VerbCancel: true, VerbRollback: true, VerbClean: true}

// migrationHelp is the answer to GODWIT MIGRATION HELP.
var migrationHelp = []string{
	"GODWIT MIGRATION <subcommand> [<arg> [value] ...]. A job belongs to the node that serves the slots, its source. Subcommands are:",
	"START <ranges> <node-id> [HOLD] [HOLD-SOURCE <duration>] [PRIORITY <n>] [PAYLOAD <payload>]",
	"    [THROTTLE <limit>] [ON-OVERLOAD SLOW|KEEP] [PAUSE-TARGET <time>] [PAUSE-DEADLINE <time>] [CONVERGE-WITHIN <time>]",
	"    Move slots to another node; answers the number of the job. HOLD waits before the handover for CUTOVER;",
	"    64 slots of a job wait copied, the others are copied when those have been handed over.",
	"    HOLD-SOURCE keeps what was given away so long (such as 10m), for ROLLBACK. Of the jobs of a node 4 move slots at a time;",
	"    those of greater PRIORITY (-100 to 100, 0 without it) go first.",
	"    PAYLOAD says how the data travel: raw as records, sst the base as sorted tables, command as commands; auto, or without it, as",
	"    tables where the slot is large and else as records.",
	"    ON-OVERLOAD says what is done about a slot that is written faster than it can be sent: its writers are slowed down (SLOW, as",
	"    without it), or not (KEEP); after CONVERGE-WITHIN (such as 60s) of it the job fails in either case, and the slot stays.",
	"    A slot is handed over when what is left takes at most PAUSE-TARGET (50ms); a pause is given up after PAUSE-DEADLINE (1s). Without",
	"    them, and for the numbers in this text, CONFIG GET says what this node has.",
	"    THROTTLE is for the job what the verb of this name sets.",
	"THROTTLE <job>|NODE [<limit>]",
	"    Say how fast records are sent and compared, by one job or by all jobs of this node together; without a limit, show it. A limit is",
	"    a rate (20MB/s, unlimited), windows of the day with their own rates (23:00-07:00=200MB/s), the zone of",
	"    the windows (zone=+02:00; UTC without it) and auto=20%, which slows down while clients wait 20 percent longer than without moves.",
	"PLAN <ranges> <node-id> [EXACT] [THROTTLE <limit>]",
	"    What START would do, without doing it, as JSON: how much, whether it fits on the target and can be begun, how long it may take. The sizes",
	"    of slots over 64 KiB are estimated, or counted with EXACT.",
	"STATUS [<job>]",
	"    The jobs of this node, or one of them, as JSON.",
	"HISTORY <job>",
	"    What became of a job, with times, as JSON; the phases of each slot only in jobs of at most 16.",
	"REPORT <job>",
	"    All that is known of a job, as JSON: its settings, pauses, the time of each step, what each slot sent and sent again, its history.",
	"PAUSE <job>, RESUME <job>",
	"    Send nothing for slots that are not handed over; go on.",
	"CUTOVER <job> [<ranges>]",
	"    Hand over slots that are held: all, or these; 4 at a time.",
	"RESOLVE <slot> COMMIT|ABORT <node-id>",
	"    End a handoff of which the other side, which is named, is lost for good: where the slot is prepared, COMMIT serves it and ABORT deletes",
	"    what came; where it was released and its target does not answer, COMMIT counts it as taken over, ABORT serves it here again. Refused",
	"    while that node answers: it is asked for as long as CONFIG GET resolve-patience says (30s) before its silence counts. A Kvrocks: while it",
	"    answers nothing on connections that it takes, and ABORT while it serves the slot. First see to it that the machine is off, or cut off",
	"    from all clients: one that is only slow, or that this node cannot reach, would serve beside this one. If it comes back all the same it",
	"    stops serving the slot as soon as it hears of it, and what was written there is lost.",
	"RESOLVE [<node-id>]",
	"    The slots here whose handoff cannot go on without another node, or without that one, as JSON. Ask every node: one that is lost can",
	"    leave slots to several.",
	"CANCEL <job>",
	"    Give up slots that are not handed over. The others have moved.",
	"ROLLBACK <job>",
	"    Cancel, and get back the slots that have moved, while their copies are kept. A job that had not moved all of its slots",
	"    ends as failed: 'rolled back by an operator'.",
	"CLEAN <job>",
	"    Delete the copies that are kept, before their time.",
	"HELP",
	"    This text.",
}

// startMigration runs START ranges node-id [HOLD] [HOLD-SOURCE duration].
func (s *Session) startMigration(args [][]byte) {
	ranges, err := slot.ParseRanges(string(args[0]))
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	var opts JobOptions
	for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
		switch word := strings.ToLower(string(rest[0])); {
		case word == "hold":
			opts.Hold = true
		case word == "hold-source" && len(rest) > 1:
			rest = rest[1:]
			if opts.KeepSource, err = time.ParseDuration(string(rest[0])); err != nil || opts.KeepSource < time.Millisecond || opts.KeepSource > MaxKeepSource {
				s.out.Error(errHoldSource)
				return
			}
		case word == "payload" && len(rest) > 1:
			rest = rest[1:]
			ok := false
			if opts.Payload, ok = ParsePayload(string(rest[0])); !ok {
				s.out.Error(errPayload)
				return
			}
		case word == "priority" && len(rest) > 1:
			rest = rest[1:]
			if opts.Priority, err = strconv.Atoi(string(rest[0])); err != nil || opts.Priority < -MaxPriority || opts.Priority > MaxPriority {
				s.out.Error(errPriority)
				return
			}
		case word == "on-overload" && len(rest) > 1:
			rest = rest[1:]
			if opts.OnOverload = Overload(strings.ToLower(string(rest[0]))); opts.OnOverload != OverloadSlow && opts.OnOverload != OverloadKeep {
				s.out.Error(errOverload)
				return
			}
		case word == "throttle" && len(rest) > 1:
			rest = rest[1:]
			opts.Throttle = string(rest[0])
		case opts.timing(word) != nil && len(rest) > 1:
			rest = rest[1:]
			if *opts.timing(word), err = time.ParseDuration(string(rest[0])); err != nil || *opts.timing(word) <= 0 {
				s.out.Error(errTiming)
				return
			}
		default:
			s.out.Error(errMigration)
			return
		}
	}
	if id, ok := s.startJob(ranges, cluster.NodeID(args[1]), opts); ok {
		s.out.BulkString(strconv.FormatUint(id.Counter, 10))
	}
}

// timing is the time that a word of START is about, nil if it is about none.
func (o *JobOptions) timing(word string) *time.Duration {
	switch word {
	case "pause-target":
		return &o.PauseTarget
	case "pause-deadline":
		return &o.PauseDeadline
	case "converge-within":
		return &o.ConvergeWithin
	default:
		return nil
	}
}

// planMigration runs PLAN ranges node-id [EXACT] [THROTTLE limit]. It waits until the plan is made.
func (s *Session) planMigration(args [][]byte) {
	n := s.n
	ranges, err := slot.ParseRanges(string(args[0]))
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	var opts PlanOptions
	for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
		switch word := strings.ToLower(string(rest[0])); {
		case word == "exact":
			opts.Exact = true
		case word == "throttle" && len(rest) > 1:
			rest = rest[1:]
			opts.Throttle = string(rest[0])
		default:
			s.out.Error(errMigration)
			return
		}
	}
	p := &parkedCommand{session: s}
	err = n.migrator.Plan(ranges, cluster.NodeID(args[1]), opts, func(r PlanReport) {
		n.opts.Workers.Submit(func() { s.complete(p, func() { s.writeJSON(r.lists()) }) })
	})
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.pending, s.slot = p, 0
}

// listWaiting runs RESOLVE [node-id].
func (s *Session) listWaiting(args [][]byte) {
	waiting := append([]WaitingSlot{}, s.n.migrator.Waiting()...) // a list where there are none, too
	if len(args) > 0 {
		waiting = slices.DeleteFunc(waiting, func(w WaitingSlot) bool { return string(w.Other) != string(args[0]) })
	}
	s.writeJSON(waiting)
}

// resolve runs RESOLVE slot COMMIT|ABORT node-id.
func (s *Session) resolve(args [][]byte) {
	n := s.n
	sl, err := strconv.ParseUint(string(args[0]), 10, 16)
	what := Resolution(strings.ToLower(string(args[1])))
	switch {
	case err != nil || !slot.Slot(sl).Valid():
		s.out.Error(errSlot)
		return
	case what != ResolveCommit && what != ResolveAbort:
		s.out.Error(errMigration)
		return
	}
	p := &parkedCommand{session: s}
	s.pending, s.slot = p, slot.Slot(sl)
	n.migrator.Resolve(slot.Slot(sl), what, cluster.NodeID(args[2]), func(text string, err error) {
		n.opts.Workers.Submit(func() {
			s.complete(p, func() {
				if err != nil {
					s.out.Error("ERR " + oneLine(err.Error()))
					return
				}
				s.out.BulkString(text)
			})
		})
	})
}

// lists makes the lists of a report empty ones where there are none, as those want it who read JSON.
func (r PlanReport) lists() PlanReport {
	r.Problems, r.Warnings = append([]string{}, r.Problems...), append([]string{}, r.Warnings...)
	r.PerSlot = append([]PlannedSlot{}, r.PerSlot...)
	return r
}

// throttle runs THROTTLE job|NODE [limit], of which the words may stand apart.
func (s *Session) throttle(args [][]byte) {
	counter := uint64(0)
	if !strings.EqualFold(string(args[0]), "node") {
		var err error
		if counter, err = strconv.ParseUint(string(args[0]), 10, 64); err != nil || counter == 0 {
			s.out.Error(errThrottled)
			return
		}
	}
	var limit *string
	if len(args) > 1 {
		text := string(bytes.Join(args[1:], []byte(" ")))
		limit = &text
	}
	r, err := s.n.migrator.Throttle(counter, limit)
	s.dependAlways(s.n.store.Last())
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.writeJSON(r)
}

// tellJob runs a verb of a job.
func (s *Session) tellJob(verb JobVerb, args [][]byte) {
	counter, err := strconv.ParseUint(string(args[0]), 10, 64)
	if err != nil {
		s.out.Error(errJobCounter)
		return
	}
	var ranges []slot.Range
	if len(args) > 1 {
		if ranges, err = slot.ParseRanges(string(args[1])); err != nil {
			s.out.Error("ERR " + err.Error())
			return
		}
	}
	answer, err := s.n.migrator.Tell(counter, verb, ranges)
	s.dependAlways(s.n.store.Last())
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.writeJSON(answer)
}

func (s *Session) jobStatus(arg []byte) {
	counter, err := strconv.ParseUint(string(arg), 10, 64)
	if err != nil {
		s.out.Error(errJobCounter)
		return
	}
	for _, j := range s.n.migrator.Jobs() {
		if j.ID.Counter == counter {
			s.writeJSON(j.Report())
			return
		}
	}
	s.out.Error(errNoSuchJob)
}

func (s *Session) jobHistory(arg []byte) {
	counter, err := strconv.ParseUint(string(arg), 10, 64)
	if err != nil {
		s.out.Error(errJobCounter)
		return
	}
	h, err := s.n.migrator.History(counter)
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.writeJSON(h)
}

// jobReport runs REPORT job.
func (s *Session) jobReport(arg []byte) {
	counter, err := strconv.ParseUint(string(arg), 10, 64)
	if err != nil {
		s.out.Error(errJobCounter)
		return
	}
	r, err := s.n.migrator.Report(counter)
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.writeJSON(r)
}

func (s *Session) writeJSON(v any) {
	b, err := json.Marshal(v)
	if err != nil { // only a NaN in a pause could do this
		s.out.Error("ERR " + err.Error())
		return
	}
	s.out.Bulk(b)
}
