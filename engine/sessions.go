package engine

import (
	"errors"
	"sort"
	"sync"
)

// ErrMaxClients says that there are as many connections as Limits.MaxClients allows. The text is Redis'.
var ErrMaxClients = errors.New("ERR max number of clients reached")

// sessions is the registry of open sessions.
type sessions struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]*Session
}

func (r *sessions) add(s *Session, limit int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) >= limit {
		return ErrMaxClients
	}
	if r.open == nil {
		r.open = map[uint64]*Session{}
	}
	r.next++
	s.id = r.next
	r.open[s.id] = s
	return nil
}

func (r *sessions) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, s.id)
}

// find returns an open session by its id, nil if there is none.
func (r *sessions) find(id uint64) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[id]
}

// count is how many sessions are open and how many ever were.
func (r *sessions) count() (open int, ever uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open), r.next
}

// list returns the open sessions by id.
func (r *sessions) list() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Session, 0, len(r.open))
	for _, s := range r.open { //det:ok sorted below
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}
