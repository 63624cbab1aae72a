package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"godwit/engine/resp"
	"godwit/engine/store"
	"godwit/sim/disk"
)

// Faults of disks. A disk fails for a while, or until its machine starts again; what was synced stays on the medium, so a machine that
// starts again finds a disk in order, unless it is the start that the fault strikes. One disk has one fault at a time.

// sound draws a machine that is up and whose disk is in order, nil if the one drawn is not.
func (f *faults) sound() *process {
	if p := f.machine(); p != nil && p.broken == nil && !p.misread {
		return p
	}
	return nil
}

// fullDisk leaves a disk no more than a little space, for a while. The node that notices ends; when it starts again
// there is space.
func (f *faults) fullDisk() {
	p, room, d := f.sound(), f.dice.Int64N(6<<10), f.dice.between(100*time.Millisecond, time.Second)
	if p == nil || !f.n.w.plan.act("full-disk", "node ", p.index) {
		return
	}
	p.fill(room, d)
}

// fill leaves the disk of a machine some bytes, for a while.
func (p *process) fill(room int64, d time.Duration) {
	usage, err := p.disk.GetDiskUsage("/")
	p.w.must(err)
	p.disk.SetCapacity(int64(usage.UsedBytes) + room)
	p.broken = disk.ErrNoSpace
	p.w.notef(p.index, traceNemesis, "the disk has %d bytes left", room)
	p.repairAfter(d)
}

// repairAfter ends what is wrong with the disk of a machine after a while, if this life lasts so long.
func (p *process) repairAfter(d time.Duration) {
	p.seat.after(d, p.repair)
}

// How injected syncs and reads fail.
var (
	errSync = errors.New("injected failure of a sync")
	errRead = errors.New("injected failure of a read")
)

// failedSync makes the next sync of a log fail: the node ends.
func (f *faults) failedSync() {
	p, glob := f.sound(), "*.log"
	if p == nil || !f.n.w.plan.act("failed-sync", "node ", p.index) {
		return
	}
	p.failSync(glob)
}

func (p *process) failSync(glob string) {
	p.w.must(p.disk.FailSync(glob, errSync))
	p.broken = errSync
	p.w.notef(p.index, traceNemesis, "syncs of %s fail", glob)
}

// readError lets all reads of tables fail for a while. The node fails the commands and the moves that need them, and goes on.
func (f *faults) readError() {
	p, d := f.sound(), f.dice.between(50*time.Millisecond, time.Second)
	if p == nil || !f.n.w.plan.act("read-error", "node ", p.index) {
		return
	}
	p.failReads(d)
}

func (p *process) failReads(d time.Duration) {
	p.run(p.node.Store().Flush) // what is in memory is not read
	if !p.ready() {
		return
	}
	p.misread = true
	p.w.must(p.disk.FailRead(tables, errRead))
	p.w.notef(p.index, traceNemesis, "reads of tables fail")
	p.repairAfter(d)
}

// tables is the pattern of the names of tables.
const tables = "*.sst"

// flip inverts a bit of each table, in what reads return, for a while. The node that meets one by a checksum ends, or fails the read.
func (f *faults) flip() {
	p, d := f.sound(), f.dice.between(50*time.Millisecond, time.Second)
	if p == nil || !f.n.w.plan.act("flip", "node ", p.index) {
		return
	}
	p.flipTables(f.dice, d)
}

func (p *process) flipTables(dice dice, d time.Duration) {
	p.run(p.node.Store().Flush)
	if !p.ready() {
		return
	}
	for _, name := range p.files(tables) {
		p.flipIn(name, dice)
	}
	p.repairAfter(d)
}

// files lists the files of a machine's directory that match a pattern, sorted.
func (p *process) files(glob string) []string {
	names, err := p.disk.List(dataDir)
	if err != nil {
		return nil // its first start has not come so far
	}
	var out []string
	for _, name := range names {
		if ok, _ := path.Match(glob, name); ok { // the patterns are constants
			out = append(out, dataDir+"/"+name)
		}
	}
	slices.Sort(out)
	return out
}

// flipIn inverts a bit of what reads of a file return, somewhere in it.
func (p *process) flipIn(name string, dice dice) {
	info, err := p.disk.Stat(name)
	if err != nil {
		return
	}
	size := p.vouched(name, info.Size())
	if size == 0 {
		return
	}
	p.misread = true
	at := dice.Int64N(size)
	p.w.must(p.disk.FlipRead(name, at))
	p.w.notef(p.index, traceNemesis, "reads of %s have byte %d wrong", name, at)
}

// vouched is up to where a flipped bit of a file must be noticed: it can look like a torn end in what was written last. The engine in memory
// vouches for what its log held when it was put in place, whose length the header has; Pebble for all of a log or MANIFEST but the last
// chunk, and what a crash has torn behind that.
func (p *process) vouched(name string, size int64) int64 {
	base := path.Base(name)
	isLog, isManifest := path.Ext(name) == ".log", strings.HasPrefix(base, "MANIFEST-")
	if !isLog && !isManifest {
		return size
	}
	b := make([]byte, size)
	f, err := p.disk.Open(name)
	if err == nil {
		_, err = f.ReadAt(b, 0)
		err = errors.Join(err, f.Close())
	}
	switch {
	case err != nil:
		p.w.must(err)
		return 0
	case base == "memory.log" && size < 16:
		return 0
	case base == "memory.log":
		return min(size, int64(binary.LittleEndian.Uint64(b[8:])))
	}
	var before, last, at int
	for at+11 <= len(b) {
		header, kind := 7, b[at+6]
		switch {
		case isManifest == (kind > 4) || kind == 0 || kind > 12: // behind the end
			return int64(before)
		case kind > 8:
			header = 19
		case kind > 4:
			header = 11
		}
		if isLog && fmt.Sprintf("%06d.log", binary.LittleEndian.Uint32(b[at+7:])) != base { // of an older log
			break
		}
		before, last, at = last, at, at+header+int(binary.LittleEndian.Uint16(b[at+4:]))
	}
	return int64(before)
}

// spoilStart lets reads fail while the machine starts, or return a bit that has flipped, of one kind of its files.
func (f *faults) spoilStart(p *process) {
	s := &f.n.w.swarm
	if f.n.over || p.looped || !f.dice.chance(s.badStarts) || !f.n.w.plan.act("bad-start", "node ", p.index) {
		return
	}
	if f.dice.chance(0.5) {
		p.failStart(pick(f.dice, "*.log", tables, "MANIFEST-*", "OPTIONS-*", "GODWIT-FORMAT"))
		return
	}
	p.flipStart(pick(f.dice, "*.log", tables, "MANIFEST-*", "GODWIT-FORMAT"), f.dice)
}

// failStart lets reads of some files fail from now on, until the machine has been restarted or has been up for a moment.
func (p *process) failStart(glob string) {
	p.misread = true
	p.w.must(p.disk.FailRead(glob, errRead))
	p.w.notef(p.index, traceNemesis, "reads of %s fail", glob)
	p.repairAfter(100 * time.Millisecond)
}

// flipStart inverts bits in what reads of some files return, likewise.
func (p *process) flipStart(glob string, dice dice) {
	for _, name := range p.files(glob) {
		p.flipIn(name, dice)
	}
	p.repairAfter(100 * time.Millisecond)
}

// repair ends what is wrong with the disk of a machine.
func (p *process) repair() {
	p.broken, p.misread = nil, false
	p.disk.SetCapacity(0)
	p.disk.ReadRight()
	for _, glob := range []string{"*.log", "*"} {
		p.w.must(p.disk.FailSync(glob, nil))
	}
	for _, glob := range []string{"*.log", tables, "MANIFEST-*", "OPTIONS-*", "GODWIT-FORMAT"} {
		p.w.must(p.disk.FailRead(glob, nil))
	}
}

// excuse names the injected fault that makes it right that a node ends with an error, "" if none does.
func (p *process) excuse(err error) string {
	text := err.Error()
	start := p.node == nil
	switch {
	case strings.Contains(text, disk.ErrNoSpace.Error()):
		return markFullDisk
	case strings.Contains(text, errSync.Error()):
		return markFailedSync
	case strings.Contains(text, errRead.Error()) && start:
		return markReadErrorAtStart
	case strings.Contains(text, errRead.Error()):
		return markReadError
	case p.noticed(text) && start:
		return markFlipAtStart
	case p.noticed(text):
		return markFlip
	default:
		return ""
	}
}

// excused reports, and counts, that a read has failed as it was made to, so that a node may log an error of this text and go on.
func (p *process) excused(text string) bool {
	c := p.disk.Counters()
	switch {
	case c.ReadsFailed > 0 && strings.Contains(text, errRead.Error()):
		p.w.nemesis.count(markReadError)
	case p.noticed(text):
		p.w.nemesis.count(markFlip)
	default:
		return false
	}
	return true
}

// noticed reports that a text says that what was read is not what was written, of a node that has read a flipped bit. Whatever else
// goes wrong in such a life has no excuse: a bit that was served may be behind it.
func (p *process) noticed(text string) bool {
	if p.disk.Counters().ReadsFlipped == 0 {
		return false
	}
	for _, words := range []string{"on-disk corruption", store.ErrDamaged.Error(), store.ErrFormat.Error()} { // the first is Pebble's
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// misreads counts the reads of this life that a fault has struck.
func (p *process) misreads() uint64 {
	c := p.disk.Counters()
	return c.ReadsFailed + c.ReadsFlipped
}

// unread reports that a reply says that a read has failed, of a node whose reads did: the command has done nothing.
func (p *process) unread(v resp.Value) bool {
	return (p.misled || p.misreads() > 0) && v.Kind == resp.ErrorKind && strings.HasPrefix(v.Str, "ERR internal error: the store could not be read")
}

// fatal is what a node calls that cannot go on. Only a fault of its disk makes that right. It returns, other than on a real
// machine: the handler runs on to its end on a disk that is no more, as when the power goes; a panic would leave locks held.
func (p *process) fatal(err error) {
	if p.gone() {
		p.repair()
		return
	}
	kind := p.excuse(err)
	if kind == "" {
		p.w.violate("fatal", "node %d cannot go on: %v", p.index, err)
	} else {
		p.w.nemesis.count(kind)
	}
	p.cut()
	p.repair() // the handler must come to its end
}

// mayFlush ends a node that is about to flush on a disk that fails.
func (p *process) mayFlush() bool {
	if !p.gone() && p.broken != nil {
		p.fatal(fmt.Errorf("flush: %w", p.broken))
	}
	return !p.gone()
}
