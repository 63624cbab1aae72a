// Package store holds what detlint must report, and beside it what it must let pass.
package store

import (
	"maps"
	"reflect"
	"slices"
	"sync"
)

var (
	active  int
	table   = map[string]int{}
	current struct{ name string }
	limits  = []int{1, 2}
)

func goroutines(wg *sync.WaitGroup, work func()) {
	go work()   // want `go statement outside engine/host and cmd`
	wg.Go(work) // want `\(\*sync.WaitGroup\).Go starts a goroutine`
}

func choose(a, b chan int) int {
	select { // want `select picks one of several ready cases at random`
	case v := <-a:
		return v
	case v := <-b:
		return v
	}
}

func packageVariables(name string) {
	active = 1              // want `write to the package variable active`
	active++                // want `write to the package variable active`
	table["a"] = 2          // want `write to the package variable table`
	current.name = name     // want `write to the package variable current`
	limits[0], name = 3, "" // want `write to the package variable limits`
	delete(table, "a")      // want `write to the package variable table`
	clear(table)            // want `write to the package variable table`
	local := table
	local = nil
	_ = local
}

func visits(m map[string]int, send func(string)) {
	for k := range m { // want `range over the map m`
		send(k)
	}
	for k := range maps.Keys(m) { // want `maps.Keys gives keys in random order`
		send(k)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		send(k)
	}
	for range m {
		send("")
	}
	for _, k := range reflect.ValueOf(m).MapKeys() { // want `\(reflect.Value\).MapKeys gives keys in random order`
		send(k.String())
	}
	var shared sync.Map
	shared.Range(func(any, any) bool { return true }) // want `\(\*sync.Map\).Range visits its keys in random order`
}

func generic[M ~map[string]int](m M, send func(string)) {
	for k := range m { // want `range over the map m`
		send(k)
	}
}

type named map[string]int

func firstFound(m named, send func(string)) (string, []string) {
	var unsorted, keys []string
	for k := range m { // want `range over the map m`
		unsorted = append(unsorted, k)
	}
	send("")
	slices.Sort(unsorted)
	for k, v := range m {
		if v > len(k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for k := range m { // want `range over the map m`
		return k, keys
	}
	return "", keys
}

func orderlessLoops(m, other map[string]int, f float64) (int, float64) {
	n := 0
	for k, v := range m {
		if v == 0 {
			delete(m, k)
			continue
		}
		other[k] = v
		n += v
	}
	for _, v := range m { // want `range over the map m`
		f += float64(v)
	}
	for _, v := range m { // want `range over the map m`
		other["last"] = v
	}
	for k := range m { // want `range over the map m`
		delete(m, k+"x")
	}
	return n, f
}

func any1(m map[string]int) bool {
	for _, v := range m {
		if v == 1 {
			return true
		}
	}
	return false
}

func countUntil(m map[string]int, n *int) bool {
	for _, v := range m { // want `range over the map m`
		*n++
		if v == 1 {
			return true
		}
	}
	return false
}

func twoAnswers(m map[string]int) int {
	for _, v := range m { // want `range over the map m`
		if v == 1 {
			return 1
		}
		return 2
	}
	return 0
}

func excused(m map[string]int, send func(string)) {
	for k := range m { //det:ok send only counts
		send(k)
	}
	//det:ok send only counts
	for k := range m {
		send(k)
	}
	for k := range m { //det:ok // want `range over the map m` `det:ok without a reason`
		send(k)
	}
	send("a")          //det:ok nothing to excuse // want `det:ok excuses nothing here`
	for k := range m { //det:ok an excuse reaches no further than its line
		go send(k) // want `go statement outside engine/host and cmd`
	}
}
