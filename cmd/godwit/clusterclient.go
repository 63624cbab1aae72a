package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

const (
	// askAgainAfter is what a client waits before it sends again what was refused for a moment.
	askAgainAfter = 20 * time.Millisecond
	// quickHops is how many redirects of one command are followed at once; then askAgainAfter lies between them, since
	// nodes that disagree send a client round in a circle until one of them has learnt better.
	quickHops = 5
)

// waitCodes are the errors by which a cluster says that it cannot serve a command now and has executed nothing of it.
var waitCodes = [...]string{"TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN"}

// clusterClient is a client of a cluster, or of one server, that hides nothing from the judge: it follows redirects and
// waits where it is told to, since both promise that nothing was executed, and retries nothing else. One goroutine uses it.
type clusterClient struct {
	entries  []string      // addresses that are asked when nobody is known to own a slot; one at least
	password string        // "" for none
	patience time.Duration // for each reply, and for redirects and waits of one command together
	waits    []string      // the codes of errors to wait at; others end the operation
	conns    map[string]*conn
	owner    map[slot.Slot]string // where a slot's last answer came from, or should come from
	hops     map[string]int       // redirects followed and waits, by code
}

func newClusterClient(entries []string, password string, patience time.Duration, waits ...string) *clusterClient {
	return &clusterClient{entries: entries, password: password, patience: patience, waits: waits,
		conns: map[string]*conn{}, owner: map[slot.Slot]string{}, hops: map[string]int{}}
}

func (c *clusterClient) close() {
	for addr := range c.conns {
		c.drop(addr)
	}
}

// errNotSent is wrapped by errors that say that nothing of a command was sent, or that all who got it refused it.
var errNotSent = errors.New("not executed")

// ask sends a command on a key of the slot to where that is thought to be, and follows redirects. An error that is an
// errReply is the last node's answer; after one that wraps errNotSent the command has not run and never will; after any
// other it may have run, or may run later.
func (c *clusterClient) ask(sl slot.Slot, argv ...string) (reply, error) {
	deadline := time.Now().Add(c.patience)
	addr, asking := c.owner[sl], false
	if addr == "" {
		addr = c.entries[0]
	}
	unreachable := map[string]bool{}
	for hops := 0; ; hops++ {
		at, err := c.connection(addr)
		if err == nil && asking {
			_, err = at.do(c.patience, "ASKING")
			if err != nil {
				c.drop(addr)
			}
		}
		if err != nil {
			// Another node may know by now that the slot is elsewhere.
			unreachable[addr] = true
			next := c.other(unreachable)
			if next == "" || time.Now().After(deadline) {
				return reply{}, fmt.Errorf("%w: %w", errNotSent, err)
			}
			addr, asking = next, false
			continue
		}
		asking = false
		r, err := at.do(c.patience, argv...)
		var refused errReply
		switch {
		case err == nil:
			c.owner[sl] = addr
			return r, nil
		case !errors.As(err, &refused):
			c.drop(addr)
			// The next command on the slot begins elsewhere: this node may be the one that hangs.
			c.owner[sl] = c.other(map[string]bool{addr: true})
			return r, err
		case time.Now().After(deadline):
			return r, err
		}
		code, to, redirected := redirect(string(refused), addr)
		switch {
		case redirected && unreachable[to]:
			return reply{}, fmt.Errorf("%w: %s redirects to %s, which cannot be reached", errNotSent, addr, to)
		case redirected:
			addr, asking = to, code == "ASK"
			if !asking {
				c.owner[sl] = to
			}
			if hops >= quickHops {
				time.Sleep(askAgainAfter)
			}
		case slices.Contains(c.waits, code):
			time.Sleep(askAgainAfter)
		default:
			return r, err
		}
		c.hops[code]++
	}
}

// redirect reads an error reply: its code and, if it is a well-formed MOVED or ASK, where that leads to. A redirect that
// names no host means the one that gave it.
func redirect(text, from string) (code, to string, ok bool) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return "", "", false
	}
	code = words[0]
	if len(words) != 3 || code != "MOVED" && code != "ASK" {
		return code, "", false
	}
	// The host may be an IPv6 address without brackets.
	i := strings.LastIndexByte(words[2], ':')
	if i < 0 {
		return code, "", false
	}
	host, port := strings.Trim(words[2][:i], "[]"), words[2][i+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return code, "", false
	}
	return code, hostPort(host, port, from), true
}

// hostPort is the address of a node as another, at from, names it; without a host it is the other's.
func hostPort(host, port, from string) string {
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(from) // from was dialled
	}
	return net.JoinHostPort(host, port)
}

// other is an address that may be asked although not the excluded ones, "" if there is none.
func (c *clusterClient) other(excluded map[string]bool) string {
	i := slices.IndexFunc(c.entries, func(addr string) bool { return !excluded[addr] })
	if i < 0 {
		return ""
	}
	return c.entries[i]
}

func (c *clusterClient) connection(addr string) (*conn, error) {
	if at, ok := c.conns[addr]; ok {
		return at, nil
	}
	at, err := dial(addr, c.password)
	if err == nil {
		c.conns[addr] = at
	}
	return at, err
}

func (c *clusterClient) drop(addr string) {
	c.conns[addr].close()
	delete(c.conns, addr)
}

// recorded is what became of a recorded operation.
type recorded struct {
	linearize.Operation        // as it was begun; its end is in the recorder
	End                 int64  // when the client knew, or gave up
	Unknown             bool   // the operation may have run, or may run later
	Problem             string // what kind of error the client saw, "" for none: a code of RESP or a few words
	Err                 error  // what the client saw, nil for a reply that is no error
}

// record asks and records it as one operation of the given client. now is the clock of the recorder. An error is the
// recorder's: a bug of the caller, or the recorder is full.
func (c *clusterClient) record(rec *linearize.Recorder, now func() int64, client int, sl slot.Slot, argv ...string) (recorded, error) {
	op, err := linearize.Command(argv...)
	if err != nil {
		return recorded{}, err
	}
	op.Client, op.Slot, op.Call = client, uint16(sl), now()
	id, err := rec.Begin(op)
	if err != nil {
		return recorded{}, err
	}
	r, err := c.ask(sl, argv...)
	done := recorded{Operation: op, End: now()}
	if err == nil {
		return done, rec.End(id, historyReply(r), done.End)
	}
	done.Problem, done.Err = problemOf(err), err
	var refused errReply
	switch {
	case errors.Is(err, errNotSent):
		return done, rec.Fail(id, done.End)
	case errors.As(err, &refused) && linearize.Error(string(refused)).Outcome() == linearize.Fail:
		return done, rec.End(id, linearize.Error(string(refused)), done.End)
	}
	// Other errors say that something went wrong, not that nothing was done.
	done.Unknown = true
	return done, rec.Unknown(id)
}

// historyReply is a reply that is no error in the form of the judge.
func historyReply(r reply) linearize.Reply {
	switch {
	case r.Null:
		return linearize.Nil()
	case r.Kind == ':':
		return linearize.Int(r.Int)
	case r.Kind == '+':
		return linearize.Status(r.Text)
	case r.Kind == '-': // within an array
		return linearize.Error(r.Text)
	case r.Kind == '*':
		items := make([]linearize.Reply, len(r.Items))
		for i, item := range r.Items {
			items[i] = historyReply(item)
		}
		return linearize.Array(items...)
	default:
		return linearize.Bulk(r.Text)
	}
}

// problemOf sorts errors into kinds for counting.
func problemOf(err error) string {
	var refused errReply
	var timeout net.Error
	switch {
	case errors.Is(err, errNotSent):
		return "cannot connect"
	case errors.As(err, &refused):
		code, _, _ := strings.Cut(string(refused), " ")
		return code
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection lost"
	case errors.Is(err, errProtocol):
		return "not RESP"
	}
	return "network"
}
