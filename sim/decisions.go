package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Decisions are bytes that decide what a seed otherwise draws, so that a fuzzer can search where chance does not go. Three bytes are one
// decision; what is left over at the end is ignored:
//
//	0  modulo 5 the lane whose draw it is: swarm, nemesis, operator, network, clients; divided by 5 the high part of the gap
//	1  the low part of the gap: how many draws of the lane pass before this one, modulo a bound of the lane
//	2  the value: eight times this byte, as one number of 64 bits
//
// All other draws are those of the seed. A decision takes the place of one draw and no other, so what comes before it does not change. Of
// a chance, 0 says yes and 255 no; of a time, 0 is the shortest; of a choice among n, the value says which n-th of the range of a byte.
//
// A run with decisions is short (see swarm.short): the shorter, the more of them can be tried.
const (
	laneSwarm = iota
	laneNemesis
	laneOperator
	laneNetwork
	laneClients
	lanes
)

// laneGaps bounds the gap in each lane: about the number of draws of a short run, but for the swarm's, of which there are about a hundred.
var laneGaps = [lanes]int{laneSwarm: 64, laneNemesis: 32, laneOperator: 16, laneNetwork: 4096, laneClients: 256}

const (
	decisionBytes = 3
	// maxDecisions bounds how many count: more than a run can use.
	maxDecisions = 1000
)

// decisions are those of a run by lane.
type decisions [lanes]lane

// lane is what was decided about the draws of some dice, which count as one.
type lane struct {
	at   int // draws so far
	list []decision
}

// decision replaces the draw with a number, from 0.
type decision struct {
	at    int
	value byte
}

func parseDecisions(b []byte) *decisions {
	var d decisions
	var next [lanes]int
	for n := 0; len(b) >= decisionBytes && n < maxDecisions; n++ {
		which := int(b[0]) % lanes
		at := next[which] + (int(b[0])/lanes<<8|int(b[1]))%laneGaps[which]
		d[which].list = append(d[which].list, decision{at, b[2]})
		next[which] = at + 1
		b = b[decisionBytes:]
	}
	return &d
}

// decide lets the decisions of a lane replace draws of these dice.
func (d *decisions) decide(which int, of dice) dice {
	return dice{rand.New(&decided{&d[which], of.Rand})}
}

// decided is a source of randomness of which single draws were decided.
type decided struct {
	lane *lane
	own  rand.Source
}

// Uint64 implements rand.Source.
func (s *decided) Uint64() uint64 {
	drawn, l := s.own.Uint64(), s.lane
	l.at++
	if len(l.list) > 0 && l.list[0].at == l.at-1 {
		drawn = uint64(l.list[0].value) * 0x0101_0101_0101_0101
		l.list = l.list[1:]
	}
	return drawn
}

// maxShortEvents bounds a run with decisions: ten times as many as one has, which take some seconds on a busy machine.
const maxShortEvents = 60_000

// decide gives the dice of the world to decisions.
func (w *world) decide(d *decisions) {
	w.mostEvents = maxShortEvents
	w.net.dice = d.decide(laneNetwork, w.net.dice)
	w.oper.dice = d.decide(laneOperator, w.oper.dice)
	w.nemesis.dice = d.decide(laneNemesis, w.nemesis.dice)
	w.nemesis.faults.dice = d.decide(laneNemesis, w.nemesis.faults.dice)
	for _, p := range w.procs {
		p.dice = d.decide(laneNemesis, p.dice)
	}
	for _, c := range w.clients {
		c.dice = d.decide(laneClients, c.dice)
	}
}

// short makes a swarm one of a run that takes some milliseconds: little of everything, and faults closer together.
func (s *swarm) short() {
	s.nodes, s.clients, s.slots = min(s.nodes, 3), min(s.clients, 3), min(s.slots, 3)
	s.filler, s.fillerBytes = min(s.filler, 12), min(s.fillerBytes, 40)
	s.safety = 600*time.Millisecond + s.safety%(900*time.Millisecond)
	s.lateness = min(s.lateness, 300*time.Millisecond)
	s.jobs = min(s.jobs, 250*time.Millisecond)
	for _, mean := range []*time.Duration{
		&s.crashes, &s.partitions, &s.skewChanges, &s.stalls, &s.slowLinks, &s.fullDisks, &s.failedSyncs, &s.readErrors, &s.flips, &s.swaps, &s.maps,
	} {
		*mean /= 4
	}
}

// ErrDecisions says that a text is not the file of decisions.
var ErrDecisions = errors.New("decisions")

// decisionsHeader is how Go's fuzzer begins its files.
const decisionsHeader = "go test fuzz v1"

// maxDecisionsFile bounds the text of a file.
const maxDecisionsFile = 1 << 20

// ReadDecisions reads a file of Go's fuzzer for FuzzSchedule: a seed and the decisions. Its errors wrap ErrDecisions, or are those of
// the reader.
func ReadDecisions(in io.Reader) (seed uint64, decisions []byte, err error) {
	sc := bufio.NewScanner(io.LimitReader(in, maxDecisionsFile))
	sc.Buffer(nil, maxDecisionsFile)
	var lines []string
	for sc.Scan() && len(lines) < 4 {
		lines = append(lines, sc.Text())
	}
	if err := sc.Err(); err != nil {
		return 0, nil, err
	}
	if len(lines) != 3 || lines[0] != decisionsHeader {
		return 0, nil, fmt.Errorf("%w: want %q, a line uint16(seed) and a line []byte(\"…\")", ErrDecisions, decisionsHeader)
	}
	number, ok1 := inside(lines[1], "uint16(", ")")
	quoted, ok2 := inside(lines[2], "[]byte(", ")")
	if !ok1 || !ok2 {
		return 0, nil, fmt.Errorf("%w: want uint16(seed) and []byte(\"…\")", ErrDecisions)
	}
	if seed, err = strconv.ParseUint(number, 10, 16); err != nil {
		return 0, nil, fmt.Errorf("%w: seed %q: %w", ErrDecisions, number, err)
	}
	text, err := strconv.Unquote(quoted)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: bytes %.40s: %w", ErrDecisions, quoted, err)
	}
	return seed, []byte(text), nil
}

func inside(text, before, after string) (string, bool) {
	text, ok1 := strings.CutPrefix(text, before)
	text, ok2 := strings.CutSuffix(text, after)
	return text, ok1 && ok2
}

// WriteDecisions writes the file that ReadDecisions reads, byte for byte as Go's fuzzer does.
func WriteDecisions(out io.Writer, seed uint16, decisions []byte) error {
	_, err := fmt.Fprintf(out, "%s\nuint16(%d)\n[]byte(%q)\n", decisionsHeader, seed, decisions)
	return err
}
