// Command detlint reports statements that would make a run of Godwit depend on something else than its seed.
//
// It is a vet tool: "go vet -vettool=bin/detlint ./..." runs it on every package, and the go command caches its
// results. "make lint" does that.
package main

import "golang.org/x/tools/go/analysis/unitchecker"

func main() { unitchecker.Main(analyzer) }
