package engine

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// Peer commands are commands of one name, PEER, that exist on a session only once it has said HELLO with the right secret
// and met the node that it meant; before that they are unknown commands like any other.
//
//	PEER HELLO <version> <secret> <id> <incarnation> <expected id> <map version> <map hash>
//	     answers "<id> <incarnation> <map version> <map hash>", or an error: env.WrongNode if the expected id is not its own
//	PEER MIGRATION <message>         answers a message; see package migration
//	PEER ANNOUNCE <slot> <epoch>     the calling node serves the slot under the epoch; answers "ok"
//	PEER CAPACITY                    answers "<bytes free on the disk, or -1> <version>"
//	PEER OWNER <ranges>              asks for a claim; answers with the text of a cluster.Answer
//	PEER JOB <word> <argument>       starts, shows or cancels a job to the calling node; see peer_jobs.go
//	PEER HANDOVER <slot> begin|go-on wants to have the slot; answers "moving" or "released"; see commands_setslot.go
//
// Records travel as they are stored, so the version is raised with store.FormatVersion: a node must not be sent what it cannot read.
const peerVersion = "2"

// helloSecret is the position of the secret in PEER HELLO.
const helloSecret = 3

// Hello implements env.Handshake.
func (n *Node) Hello(to env.Peer) [][]byte {
	m := n.topology()
	fields := []string{"PEER", "HELLO", peerVersion, n.opts.PeerSecret, string(n.ID()), n.incarnation.String(), to.ID,
		strconv.FormatInt(m.Version, 10), strconv.FormatUint(m.Hash(), 16)}
	out := make([][]byte, len(fields))
	for i, f := range fields {
		out[i] = []byte(f)
	}
	return out
}

// CheckHello implements env.Handshake: the node that answered must be the one that was meant.
func (n *Node) CheckHello(to env.Peer, reply []byte) error {
	fields := strings.Fields(string(reply))
	if len(fields) != 4 {
		return fmt.Errorf("the handshake of %s was answered with %q, want 4 fields", to.Addr, reply)
	}
	if fields[0] != to.ID && !mutant.On(mutant.WrongTarget) {
		return fmt.Errorf("at %s answers node %s, expected %s", to.Addr, fields[0], to.ID)
	}
	n.compareMaps(cluster.NodeID(fields[0]), fields[2], fields[3])
	return nil
}

// compareMaps raises an alarm when two nodes hold different maps under one version.
func (n *Node) compareMaps(peer cluster.NodeID, version, hash string) {
	m := n.topology()
	if m.Version >= 0 && version == strconv.FormatInt(m.Version, 10) && hash != strconv.FormatUint(m.Hash(), 16) {
		n.alarm(fmt.Sprintf("node %s holds another map under version %d: two controllers?", peer, m.Version))
	}
}

// runPeer runs PEER commands.
func (s *Session) runPeer(args [][]byte) {
	n := s.n
	if len(args) < 2 {
		s.unknownCommand(args)
		return
	}
	sub := strings.ToUpper(string(args[1]))
	if sub == "HELLO" {
		s.peerHello(args)
		return
	}
	if s.peer == nil {
		s.unknownCommand(args)
		return
	}
	switch {
	case sub == "MIGRATION" && len(args) == 3 && n.migrator != nil:
		reply, at, err := n.migrator.HandlePeer(*s.peer, args[2])
		s.dependAlways(at)
		if err != nil {
			s.out.Error("ERR " + err.Error())
			return
		}
		s.out.Bulk(reply)
	case sub == "ANNOUNCE" && len(args) == 4:
		sl, err1 := strconv.ParseUint(string(args[2]), 10, 16)
		epoch, err2 := strconv.ParseUint(string(args[3]), 10, 64)
		if err1 != nil || err2 != nil || !slot.Slot(sl).Valid() {
			s.out.Error("ERR PEER ANNOUNCE takes a slot and an epoch")
			return
		}
		n.Announced(cluster.Hint{Slot: slot.Slot(sl), Node: s.peer.ID, Epoch: cluster.Epoch(epoch)})
		s.dependAlways(n.store.Last())
		s.out.BulkString("ok")
	case sub == "CAPACITY" && len(args) == 2:
		s.out.BulkString(n.capacity())
	case sub == "OWNER" && len(args) == 3:
		ranges, err := slot.ParseRanges(string(args[2]))
		if err != nil {
			s.out.Error("ERR " + err.Error())
			return
		}
		s.out.BulkString(n.ownerAnswer(ranges).Text())
		if !mutant.On(mutant.UndurableAnswer) {
			s.dependAlways(n.store.Last())
		}
	case sub == "JOB" && len(args) == 4:
		s.peerJob(args[2:])
	case sub == "HANDOVER" && len(args) == 4:
		s.peerHandOver(args[2:])
	default:
		s.out.Error("ERR unknown PEER command: this node speaks version " + peerVersion)
	}
}

func (s *Session) unknownCommand(args [][]byte) {
	shown := slices.Clone(args)
	if len(args) > helloSecret && strings.EqualFold(string(args[1]), "hello") && len(args[helloSecret]) > 0 {
		shown[helloSecret] = []byte("***") // error texts end in logs and on screens
	}
	_, text := s.n.table.Check(shown)
	s.out.Error(text)
}

// peerHello makes the session a peer link, or refuses.
func (s *Session) peerHello(args [][]byte) {
	n := s.n
	switch {
	case !n.opts.Cluster || len(args) != 9:
		s.unknownCommand(args)
		return
	case n.opts.PeerSecret == "" && !s.opts.Loopback,
		subtle.ConstantTimeCompare(args[helloSecret], []byte(n.opts.PeerSecret)) != 1:
		n.opts.Log.Warn("a peer link was refused: wrong secret, or no secret and not from loopback", "remote", s.opts.Remote)
		s.unknownCommand(args)
		return
	case string(args[2]) != peerVersion:
		s.out.Error("ERR this node speaks version " + peerVersion + " of the peer protocol, not " + string(bytes.ToValidUTF8(args[2], nil)))
		return
	case string(args[6]) != string(n.ID()) && !mutant.On(mutant.WrongTarget):
		s.out.Error(env.WrongNode + " this is node " + string(n.ID()) + ", not the one that was called")
		return
	}
	incarnation, err := strconv.ParseUint(string(args[5]), 16, 64)
	if err != nil || len(args[4]) != cluster.NodeIDLen {
		s.out.Error("ERR PEER HELLO takes a node id of 40 bytes and an incarnation in hex")
		return
	}
	s.isPeer.Store(true)
	s.peer = &PeerInfo{ID: cluster.NodeID(args[4]), Incarnation: cluster.Incarnation(incarnation)}
	s.authed = true
	n.compareMaps(s.peer.ID, string(args[7]), string(args[8]))
	m := n.topology()
	s.out.BulkString(string(n.ID()) + " " + n.incarnation.String() + " " + strconv.FormatInt(m.Version, 10) + " " + strconv.FormatUint(m.Hash(), 16))
}

// capacity is the answer to PEER CAPACITY.
func (n *Node) capacity() string {
	free := int64(-1)
	if usage, err := n.opts.FS.GetDiskUsage(n.opts.Dir); err == nil {
		free = int64(min(usage.AvailBytes, math.MaxInt64))
	}
	return fmt.Sprintf("%d %s", free, n.opts.Version)
}

// ParseCapacity reads the answer to PEER CAPACITY.
func ParseCapacity(reply []byte) (free int64, version string, err error) {
	text, version, ok := strings.Cut(string(reply), " ")
	free, err = strconv.ParseInt(text, 10, 64)
	if err != nil || !ok || free < -1 {
		return 0, "", fmt.Errorf("the answer to PEER CAPACITY is %q, want a number of bytes and a version", reply)
	}
	return free, version, nil
}

// Announce tells a peer that this node serves a slot.
func (n *Node) Announce(to env.Peer, sl slot.Slot, e cluster.Epoch, done func(error)) {
	args := [][]byte{[]byte("PEER"), []byte("ANNOUNCE"), strconv.AppendUint(nil, uint64(sl), 10), strconv.AppendUint(nil, uint64(e), 10)}
	n.opts.Peers.Call(to, env.Control, args, claimTimeout, func(_ []byte, err error) { done(err) })
}
