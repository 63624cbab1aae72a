package sim

// Engine names what the nodes of a run keep their records in, below the store.
type Engine string

// The engines.
const (
	EngineMemory Engine = "memory" // a tree and a log
	EnginePebble Engine = "pebble"
)

// pebbleEvery says which seeds run on Pebble: those that it divides. What the other nine of ten have instead must behave
// equally, which the tests of engine/store demand, and costs less.
const pebbleEvery = 10

// engineOf is the engine of a seed.
func engineOf(seed uint64) Engine {
	if seed%pebbleEvery == 0 {
		return EnginePebble
	}
	return EngineMemory
}
