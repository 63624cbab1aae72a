//go:build mutants

package mutant

// Built says whether this binary can switch mutants on.
const Built = true

var active Name

// On reports whether the mutant is switched on.
func On(n Name) bool { return active == n }

// Set switches one mutant on, or all off with the empty name. It must not be called while nodes run.
func Set(n Name) {
	active = n //det:ok one mutant for the whole process is the point
}
