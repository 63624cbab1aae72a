//go:build !mutants

package mutant

// Built says whether this binary can switch mutants on.
const Built = false

// On reports whether the mutant is switched on: never, in this build.
func On(Name) bool { return false }

// Set does nothing in this build; ask Built first.
func Set(Name) {}
