package engine

import "testing"

// TestSortReachesOtherSlots: a node that stands alone looks keys up by the patterns of SORT, in a transaction too, and sees there what the
// commands before have written; what is watched is told of a list that is stored.
func TestSortReachesOtherSlots(t *testing.T) {
	n := newWorld(t).addNode(standalone)
	script(t, n, map[string]*testClient{}, `
		a: RPUSH l 1 2 3 → 3
		a: MSET w1 30 w2 10 w3 20 → OK
		a: SORT l BY w* → ["2" "3" "1"]
		a: SORT_RO l BY w* GET w* GET # → ["10" "2" "20" "3" "30" "1"]
		a: PEXPIREAT w2 1 → 1
		a: SORT_RO l BY w* → ["2" "3" "1"]
		b: WATCH dst → OK
		a: MULTI → OK
		a: SET w3 5 → QUEUED
		a: SORT l BY w* STORE dst → QUEUED
		a: SORT dst BY nosort GET w* → QUEUED
		a: EXEC → [OK 3 [(nil) "5" "30"]]
		b: MULTI → OK
		b: GET x → QUEUED
		b: EXEC → (nil)
	`)
}

// TestSortExpiredWeight: a read that meets an expired weight deletes it before it answers.
func TestSortExpiredWeight(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	c := n.client()
	c.want("2", "RPUSH", "l", "1", "2")
	c.want("OK", "SET", "w1", "9", "PX", "10")
	c.want("OK", "SET", "w2", "5")
	c.want(`["2" "1"]`, "SORT_RO", "l", "BY", "w*")
	w.wallMs += 100
	c.want(`["1" "2"]`, "SORT_RO", "l", "BY", "w*")
	w.wallMs -= 100 // had it only been passed over, it would be back
	c.want(`["1" "2"]`, "SORT_RO", "l", "BY", "w*")
}

// TestSortInCluster: patterns are refused, and the key of STORE is routed as the others are.
func TestSortInCluster(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-16383")[0]
	script(t, n, map[string]*testClient{}, `
		a: RPUSH {x}l 2 1 → 2
		a: SORT {x}l → ["1" "2"]
		a: SORT {x}l BY nosort → ["2" "1"]
		a: SORT {x}l BY w* → (error) ERR BY option of SORT denied in cluster mode.
		a: SORT_RO {x}l GET # → (error) ERR GET option of SORT denied in cluster mode.
		a: SORT {x}l STORE {x}d → 2
		a: SORT {x}l STORE d → (error) CROSSSLOT Attempted to access keys that don't hash to the same slot
		a: MULTI → OK
		a: SORT {x}l BY w* → QUEUED
		a: SORT {x}l DESC STORE {x}d → QUEUED
		a: EXEC → [(error) ERR BY option of SORT denied in cluster mode. 2]
		a: LRANGE {x}d 0 -1 → ["2" "1"]
	`)
}
