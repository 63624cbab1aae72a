package engine

import (
	"encoding/json"
	"strconv"
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// peerJob runs PEER JOB, by which the target of a job starts it, looks at it and gives it up: a job belongs to the source, and tools of Redis give
// their orders to the target. It answers the job's report as JSON.
//
//	PEER JOB start <ranges>     moves slots to the calling node; a job that does is found, and not started again
//	PEER JOB status <counter>   a job to the calling node
//	PEER JOB cancel <counter>   the same, given up as far as it can be
func (s *Session) peerJob(args [][]byte) {
	n := s.n
	if n.migrator == nil {
		s.out.Error(errNoMigrator)
		return
	}
	to := s.peer.ID
	var counter uint64
	changed := false
	switch word := string(args[0]); word {
	case "start":
		ranges, err := slot.ParseRanges(string(args[1]))
		if err != nil {
			s.out.Error("ERR " + err.Error())
			return
		}
		set := slot.SetOf(ranges...)
		counter = n.jobOver(&set, to)
		if counter == 0 {
			id, err := n.migrator.Start(set.Ranges(), to, JobOptions{})
			if err != nil {
				s.dependAlways(n.store.Last())
				s.out.Error("ERR " + err.Error())
				return
			}
			counter, changed = id.Counter, true
		}
	case "status", "cancel":
		var err error
		if counter, err = strconv.ParseUint(string(args[1]), 10, 64); err != nil {
			s.out.Error(errJobCounter)
			return
		}
		if j, found := n.job(counter); !found || j.Target != to {
			s.out.Error(errNoSuchJob)
			return
		}
		if word == "cancel" {
			answer, err := n.migrator.Tell(counter, VerbCancel, nil)
			if err != nil {
				s.out.Error("ERR " + err.Error())
				return
			}
			changed = answer.Changed
		}
	default:
		s.out.Error("ERR PEER JOB takes start, status or cancel")
		return
	}
	s.dependAlways(n.store.Last())
	j, _ := n.job(counter)
	s.writeJSON(peerJobReport{Incarnation: n.incarnation, Changed: changed, JobReport: j.Report()})
}

// peerJobReport is the answer to PEER JOB.
type peerJobReport struct {
	Incarnation cluster.Incarnation `json:"incarnation"` // of the source: with the counter it names the job
	Changed     bool                `json:"changed"`     // the word did something
	JobReport
}

func parsePeerJob(raw []byte) (r peerJobReport, err error) {
	err = json.Unmarshal(raw, &r)
	return r, err
}

// jobOver is the counter of the live job that moves exactly these slots to a node, 0 if there is none.
func (n *Node) jobOver(set *slot.Set, to cluster.NodeID) uint64 {
	for _, j := range n.migrator.Jobs() {
		if all := slot.SetOf(j.Ranges...); !j.State.Ended() && j.Target == to && all == *set {
			return j.ID.Counter
		}
	}
	return 0
}

// job is the job with a counter.
func (n *Node) job(counter uint64) (JobStatus, bool) {
	if n.migrator != nil {
		for _, j := range n.migrator.Jobs() {
			if j.ID.Counter == counter {
				return j, true
			}
		}
	}
	return JobStatus{State: JobNone}, false
}

// taskName is the name of a job for tools that want one of 40 hex digits: the source's directory and its counter.
func taskName(source cluster.Incarnation, counter uint64) string {
	c := strconv.FormatUint(counter, 16)
	return source.String() + strings.Repeat("0", cluster.NodeIDLen-16-len(c)) + c
}

// parseTaskName reads what taskName wrote.
func parseTaskName(name string) (source cluster.Incarnation, counter uint64, ok bool) {
	if len(name) != cluster.NodeIDLen {
		return 0, 0, false
	}
	of, err1 := strconv.ParseUint(name[:16], 16, 64)
	counter, err2 := strconv.ParseUint(name[16:], 16, 64)
	return cluster.Incarnation(of), counter, err1 == nil && err2 == nil
}

// pairsText writes ranges as Redis and Valkey do: "0-5 7-7".
func pairsText(ranges []slot.Range) string {
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
	}
	return strings.Join(parts, " ")
}

// parsePairs reads ranges that are given as two arguments each, up to the first that is no number, and says how many arguments they were.
func parsePairs(args [][]byte) (ranges []slot.Range, used int, problem string) {
	var set slot.Set
	for used < len(args) {
		if _, err := strconv.ParseInt(string(args[used]), 10, 64); err != nil {
			break
		}
		first, text := parseSlot(args[used], errSlotRange)
		if text != "" {
			return nil, 0, errSlotRange
		}
		if used+1 == len(args) {
			return nil, 0, errNoEndSlot
		}
		last, text := parseSlot(args[used+1], errSlotRange)
		if text != "" {
			return nil, 0, errSlotRange
		}
		r := slot.Range{First: first, Last: last}
		switch {
		case first > last:
			return nil, 0, errSlotOrder(r)
		case set.HasAny(r):
			return nil, 0, errSlotTwice(r)
		}
		set.AddRange(r)
		ranges = append(ranges, r)
		used += 2
	}
	if len(ranges) == 0 {
		return nil, 0, errNoRanges
	}
	return ranges, used, ""
}
