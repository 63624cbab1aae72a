package engine

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"godwit/engine/command"
	"godwit/engine/env"
)

// pauseMode says which commands CLIENT PAUSE holds back.
type pauseMode uint32

const (
	pauseOff    pauseMode = iota
	pauseWrites           // those that may write, and transactions with such
	pauseAll              // all but CLIENT UNPAUSE
)

// clientPause is what CLIENT PAUSE holds back. Peers are not clients: moves of slots go on, and so does the deletion of
// expired keys, without which no answer about them could be given.
type clientPause struct {
	mode atomicPause // read without the lock by every command

	mu      sync.Mutex // taken after sessions' locks
	until   time.Duration
	timer   env.Timer
	waiting []*parkedCommand
}

// atomicPause is a pauseMode that is read without a lock.
type atomicPause struct{ v atomic.Uint32 }

func (a *atomicPause) Load() pauseMode   { return pauseMode(a.v.Load()) }
func (a *atomicPause) store(m pauseMode) { a.v.Store(uint32(m)) }

// waitForPause makes a command wait if CLIENT PAUSE holds it back. s.mu is held.
func (s *Session) waitForPause(spec *command.Spec, args [][]byte) bool {
	pause := &s.n.pause
	pause.mu.Lock()
	defer pause.mu.Unlock()
	switch pause.mode.Load() {
	case pauseOff:
		return false
	case pauseWrites:
		inMulti := spec.Name == "exec" && s.multi != nil && s.multi.writes
		if spec.Flags&command.Write == 0 && !inMulti {
			return false
		}
	case pauseAll:
		if spec.Name == "client|unpause" {
			return false
		}
	}
	pause.waiting = append(pause.waiting, s.wait(args))
	return true
}

// clientPause answers CLIENT PAUSE timeout [WRITE|ALL]. While clients are paused, a pause only grows.
func (s *Session) clientPause(args [][]byte) {
	ms, err := strconv.ParseInt(string(args[0]), 10, 64)
	switch {
	case err != nil || ms > maxPauseMs:
		s.out.Error(errTimeoutInteger)
		return
	case ms < 0:
		s.out.Error(errTimeoutNegative)
		return
	}
	mode := pauseAll
	if len(args) == 2 {
		switch strings.ToLower(string(args[1])) {
		case "write":
			mode = pauseWrites
		case "all":
		default:
			s.out.Error(errPauseMode)
			return
		}
	} else if len(args) > 2 {
		s.out.Error(errSyntax)
		return
	}
	s.n.pauseClients(mode, time.Duration(ms)*time.Millisecond)
	s.out.OK()
}

// maxPauseMs bounds CLIENT PAUSE to what a time.Duration can hold with the clock added: some 146 years.
const maxPauseMs = 1 << 62 / 1_000_000

func (n *Node) pauseClients(mode pauseMode, d time.Duration) {
	p := &n.pause
	p.mu.Lock()
	defer p.mu.Unlock()
	now := n.opts.Clock.Mono()
	if p.mode.Load() == pauseOff {
		p.until = 0
	}
	p.mode.store(max(mode, p.mode.Load()))
	if until := now + d; until > p.until {
		p.until = until
		if p.timer != nil {
			p.timer.Stop()
		}
		p.timer = n.opts.Clock.AfterFunc(d, func() { n.unpauseClients(until) })
	}
}

// unpauseClients runs what CLIENT PAUSE held back, if the pause is over by a time; 0 ends it in any case.
func (n *Node) unpauseClients(by time.Duration) {
	p := &n.pause
	p.mu.Lock()
	defer p.mu.Unlock()
	if by != 0 && p.until > by || p.mode.Load() == pauseOff {
		return
	}
	p.mode.store(pauseOff)
	if p.timer != nil {
		p.timer.Stop()
	}
	n.resumeAll(p.waiting)
	p.waiting = nil
}

// forget removes a command that waits no longer.
func (p *clientPause) forget(c *parkedCommand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.waiting {
		if other == c {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return
		}
	}
}
