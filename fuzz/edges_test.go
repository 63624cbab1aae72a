package fuzz

import "hash/fnv"

// Go's fuzzer keeps an input when it covers new code. Here each feature of a run has code of its own, one of these functions, so that the
// fuzzer also keeps a run for a fault at a step at which none has struck before. All are alike: what counts is that each is compiled.

// cover runs the function of a feature. Some features share one.
func cover(feature string) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(feature)) // a hash does not fail
	edges[h.Sum32()%uint32(len(edges))]()
}

var edge int

var edges = [...]func(){
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
	func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ }, func() { edge++ },
}
