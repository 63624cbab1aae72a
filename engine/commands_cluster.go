package engine

import (
	"strconv"
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// acknowledge answers READONLY, READWRITE and ASKING. They change nothing: this node is no replica, and nobody but the link
// of a move may write into a slot that is arriving.
func (s *Session) acknowledge(name []byte) {
	if !s.n.opts.Cluster {
		s.out.Error(cluster.ErrNotEnabled.Reply())
		return
	}
	s.asking = mutant.On(mutant.AskingServes) && strings.EqualFold(string(name), "asking")
	s.out.OK()
}

// runCluster runs the subcommands of CLUSTER. What they show of records and maps may be as new as the latest commit, so
// their replies wait for that.
func (s *Session) runCluster(spec *command.Spec, args [][]byte) {
	n := s.n
	if !n.opts.Cluster {
		s.out.Error(cluster.ErrNotEnabled.Reply())
		return
	}
	s.dependOn(n.store.Last(), false)
	switch spec.Name {
	case "cluster|keyslot":
		s.out.Int(int64(slot.OfKey(args[2])))
		return
	case "cluster|myid":
		s.out.BulkString(string(n.ID()))
		return
	case "cluster|countkeysinslot":
		s.countKeysInSlot(args[2])
		return
	case "cluster|getkeysinslot":
		s.getKeysInSlot(args[2], args[3])
		return
	case "cluster|reset":
		s.clusterReset(args[2:])
		return
	}
	if !n.topology().Initialized() {
		s.out.Error(cluster.NotInitialized)
		return
	}
	v := n.view()
	switch spec.Name {
	case "cluster|info":
		s.out.Verbatim("txt", v.InfoText(n.moveLines()))
	case "cluster|nodes":
		s.out.Verbatim("txt", v.NodesText())
	case "cluster|myshardid":
		s.out.BulkString(string(v.ShardID()))
	case "cluster|slots":
		v.WriteSlots(&s.out)
	case "cluster|shards":
		v.WriteShards(&s.out)
	case "cluster|replicas":
		text, err := v.ReplicasText(cluster.NodeID(args[2]))
		if err != nil {
			s.out.Error("ERR " + err.Error())
			return
		}
		s.out.Verbatim("txt", text)
	case "cluster|setslot":
		s.clusterSetSlot(args[2:])
	case "cluster|migrateslots":
		s.clusterMigrateSlots(args[2:])
	case "cluster|getslotmigrations":
		s.clusterGetSlotMigrations()
	case "cluster|cancelslotmigrations":
		s.clusterCancelSlotMigrations()
	case "cluster|import":
		s.clusterImport(args[2:])
	case "cluster|migration":
		s.clusterMigration(args[2:])
	case "cluster|bumpepoch":
		s.out.Simple("STILL " + strconv.FormatInt(v.Map.Version, 10))
	case "cluster|count-failure-reports":
		if v.Map.Find(cluster.NodeID(args[2])) == nil {
			s.out.Error(errUnknownNode(args[2]))
			return
		}
		s.out.Int(0)
	default:
		s.out.Error(errNotHere(spec.Name))
	}
}

// view is what the node shows of the cluster now.
func (n *Node) view() cluster.View {
	v := cluster.View{Map: n.topology(), Self: n.ID(), OwnerOf: n.Owner, NowMs: n.opts.Clock.WallMs()}
	if n.migrator == nil {
		return v
	}
	for _, j := range n.migrator.Jobs() {
		if j.State.Ended() || j.State == JobClean {
			continue
		}
		left := slot.SetOf(j.Ranges...)
		for _, moved := range j.Moved {
			left.RemoveRange(moved)
		}
		if ranges := left.Ranges(); len(ranges) > 0 {
			v.Migrating = append(v.Migrating, cluster.Move{Ranges: ranges, Peer: j.Target})
		}
	}
	imports := n.migrator.Importing()
	var arriving slot.Set
	for _, i := range imports {
		arriving.Add(i.Slot)
	}
	v.Importing = append(append(importMoves(imports), n.foreignMoves()...), n.wishes(&arriving)...)
	return v
}

// importMoves gathers the slots that arrive from one node, in the order in which the nodes first appear.
func importMoves(imports []ImportStatus) []cluster.Move {
	var froms []cluster.NodeID
	sets := map[cluster.NodeID]*slot.Set{}
	for _, i := range imports {
		set := sets[i.Record.Peer]
		if set == nil {
			set = &slot.Set{}
			sets[i.Record.Peer] = set
			froms = append(froms, i.Record.Peer)
		}
		set.Add(i.Slot)
	}
	moves := make([]cluster.Move, 0, len(froms))
	for _, from := range froms {
		moves = append(moves, cluster.Move{Ranges: sets[from].Ranges(), Peer: from})
	}
	return moves
}

// moveLines are the lines of CLUSTER INFO about moves: those of Kvrocks about the latest job, which controllers parse and
// which must still be there after a restart, and Godwit's own about the same job. Each has one colon, or controllers would
// pass over it.
func (n *Node) moveLines() []string {
	if n.migrator == nil {
		return nil
	}
	var lines []string
	jobs := n.migrator.Jobs()
	if len(jobs) > 0 {
		j := jobs[len(jobs)-1]
		lines = append(lines, cluster.MigratingLines(cluster.Move{Ranges: j.Ranges, Peer: j.Target}, j.State.Word())...)
	}
	var all slot.Set
	imports := n.migrator.Importing()
	for _, i := range imports {
		all.Add(i.Slot)
	}
	if len(imports) > 0 {
		lines = append(lines, cluster.ImportingLines(cluster.Move{Ranges: all.Ranges()}, "start")...)
	} else {
		lines = append(lines, n.foreignLines()...)
	}
	if len(jobs) > 0 {
		lines = append(lines, jobLines(jobs[len(jobs)-1])...)
	}
	return lines
}

// jobLines are Godwit's own lines about a job.
func jobLines(j JobStatus) []string {
	longest := 0.0
	for _, p := range j.PausesMs {
		longest = max(longest, p)
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	fields := [][2]string{
		{"id", j.ID.String()},
		{"state", string(j.State)},
		{"step", j.Step},
		{"slots", number(int64(j.Slots))},
		{"moved", number(int64(j.Moved.Len()))},
		{"records_sent", strconv.FormatUint(j.Records, 10)},
		{"bytes_sent", strconv.FormatUint(j.Bytes, 10)},
		{"lag_keys", number(int64(j.LagKeys))},
		{"lag_bytes", number(j.LagByte)},
		{"pause_ms", strconv.FormatFloat(longest, 'f', 3, 64)},
		{"error", j.Error},
	}
	lines := make([]string, len(fields))
	for i, f := range fields {
		lines[i] = "godwit_job_" + f[0] + ":" + oneLine(f[1])
	}
	return lines
}

// oneLine makes a text fit for a line that must have one colon.
func oneLine(text string) string {
	return strings.NewReplacer(":", ";", "\r", " ", "\n", " ").Replace(text)
}

// countKeysInSlot answers CLUSTER COUNTKEYSINSLOT. A slot that this node does not serve has no keys here, whatever a move
// has brought or left behind.
func (s *Session) countKeysInSlot(arg []byte) {
	sl, text := parseSlot(arg, errSlot)
	if text != "" {
		s.out.Error(text)
		return
	}
	if s.n.Record(sl).State != cluster.Serving {
		s.out.Int(0)
		return
	}
	count, err := data.CountKeys(s.n.store, sl, s.n.opts.Clock.WallMs())
	if err != nil {
		s.readFailed(err)
		return
	}
	s.out.Int(count)
}

func (s *Session) getKeysInSlot(slotArg, countArg []byte) {
	sl, text := parseSlot(slotArg, errSlotKeys)
	if text != "" {
		s.out.Error(text)
		return
	}
	limit, err := strconv.ParseInt(string(countArg), 10, 32)
	switch {
	case err != nil:
		s.out.Error(errNotInteger)
		return
	case limit < 0:
		s.out.Error(errSlotKeys)
		return
	}
	var keys [][]byte
	if s.n.Record(sl).State == cluster.Serving {
		if keys, err = data.ListKeys(s.n.store, sl, s.n.opts.Clock.WallMs(), int(limit)); err != nil {
			s.readFailed(err)
			return
		}
	}
	s.out.Array(len(keys))
	for _, k := range keys {
		s.out.Bulk(k)
	}
}

func parseSlot(arg []byte, outOfRange string) (slot.Slot, string) {
	v, err := strconv.ParseInt(string(arg), 10, 64)
	switch {
	case err != nil:
		return 0, errNotInteger
	case v < 0 || v >= slot.Count:
		return 0, outOfRange
	}
	return slot.Slot(v), ""
}

func (s *Session) readFailed(err error) {
	s.n.opts.Log.Error("reading the store failed", "error", err)
	s.out.Error(errInternal)
}

// clusterReset answers CLUSTER RESET [HARD|SOFT]. As in Kvrocks both words mean the same.
func (s *Session) clusterReset(args [][]byte) {
	if len(args) > 1 || len(args) == 1 && !strings.EqualFold(string(args[0]), "hard") && !strings.EqualFold(string(args[0]), "soft") {
		s.out.Error(errSyntax)
		return
	}
	p, err := s.n.ResetCluster()
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.dependAlways(p)
	s.out.OK()
}

// ResetCluster forgets the map, the id and every ownership record, so that the next map finds a node at birth. It is
// refused while a slot moves and while there is data. It is the one way in which records are deleted: what this node
// promised about its slots is the operator's to judge. The answer is durable when the position is.
func (n *Node) ResetCluster() (store.Position, error) {
	n.change.Lock()
	defer n.change.Unlock()
	if _, live, _ := n.foreignNow(); live {
		return 0, cluster.ErrResetImporting
	}
	if n.migrator != nil { // asked before the stripes are taken: the migrator takes them itself
		switch {
		case len(n.migrator.Importing()) > 0:
			return 0, cluster.ErrResetImporting
		case n.migrator.Busy():
			return 0, cluster.ErrResetMigrating
		}
	}
	n.stripes.lockAll()
	defer n.stripes.unlockAll()
	for sl := range slot.Slot(slot.Count) {
		st := n.slots.get(sl)
		switch {
		case st.state() == cluster.Importing || st.state() == cluster.Prepared:
			return 0, cluster.ErrResetImporting
		case st.paused || st.sealed:
			return 0, cluster.ErrResetMigrating
		}
	}
	if !n.empty() {
		return 0, cluster.ErrResetNotEmpty
	}
	b := n.store.NewBatch()
	b.DeleteRange(key.OwnershipSpan())
	b.DeleteRange(key.HintSpan())
	b.Delete(key.Named(namedMap))
	b.Delete(key.Named(namedAsk))
	b.Delete(key.Named(namedID))
	p := n.store.Commit(b)
	n.opts.Log.Warn("the cluster state of this node was reset", "id", n.ID(), "version", n.topology().Version)
	n.setID("")
	n.mapNow.Store(cluster.NoMap())
	n.mu.Lock()
	n.hints = map[slot.Slot]cluster.Hint{}
	n.wished = map[slot.Slot]cluster.NodeID{}
	n.opening = map[slot.Slot]cluster.JobID{}
	n.foreign = nil
	n.claims.Reset()
	n.mu.Unlock()
	for sl := range slot.Slot(slot.Count) {
		if n.slots.get(sl).record != nil {
			o := Owned{n: n, slot: sl}
			o.change().lastWrite = p
			o.setRecord(&cluster.Record{})
		}
	}
	return p, nil
}

// SetSlots is CLUSTERX SETSLOT: the next map, in which the slots belong to another node. It goes the way of any map. The
// answer is durable when the position is.
func (n *Node) SetSlots(ranges []slot.Range, to cluster.NodeID, version int64) (store.Position, error) {
	n.change.Lock()
	defer n.change.Unlock()
	old := n.topology()
	if version <= 0 || version != old.Version+1 {
		return 0, cluster.ErrClusterVersion
	}
	m, err := old.WithSlots(ranges, to, version)
	if err != nil {
		return 0, err
	}
	return n.setMap(m, false)
}
