package cluster

import (
	"strconv"
	"strings"

	"godwit/engine/slot"
)

// InfoText is the text of CLUSTER INFO: the fields of Kvrocks in its order, then the extra lines (given without line ends),
// every line ended by CR LF. The state is ok as soon as there is a map, as controllers expect; what is not covered shows in
// cluster_slots_assigned.
func (v View) InfoText(extra []string) string {
	assigned, size := 0, 0
	for _, ranges := range v.slotsByNode() {
		for _, r := range ranges {
			assigned += r.Len()
		}
		if len(ranges) > 0 {
			size++
		}
	}
	version := strconv.FormatInt(v.Map.Version, 10)
	lines := append([]string{
		"cluster_state:ok",
		"cluster_slots_assigned:" + strconv.Itoa(assigned),
		"cluster_slots_ok:" + strconv.Itoa(assigned),
		"cluster_slots_pfail:0",
		"cluster_slots_fail:0",
		"cluster_known_nodes:" + strconv.Itoa(len(v.Map.Nodes)),
		"cluster_size:" + strconv.Itoa(size),
		"cluster_current_epoch:" + version,
		"cluster_my_epoch:" + version,
	}, extra...)
	return strings.Join(lines, "\r\n") + "\r\n"
}

// MigratingLines are the lines that Kvrocks adds to CLUSTER INFO at the source of a move; controllers parse them. The space
// after "destination_node:" is Kvrocks' own. state is start, success or fail.
func MigratingLines(m Move, state string) []string {
	return []string{
		"migrating_slot(s): " + joinRanges(m.Ranges),
		"destination_node: " + string(m.Peer),
		"migrating_state: " + state,
	}
}

// ImportingLines are the lines that Kvrocks adds to CLUSTER INFO at the target of a move. state is none, start, success or
// error.
func ImportingLines(m Move, state string) []string {
	return []string{
		"importing_slot(s): " + joinRanges(m.Ranges),
		"import_state: " + state,
	}
}

// joinRanges writes ranges as they were given, in one field: "5-9 12".
func joinRanges(ranges []slot.Range) string {
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, " ")
}
