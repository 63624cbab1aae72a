// Package host is the edge: what is reported elsewhere is its work.
package host

func serve(work func()) { go work() }
