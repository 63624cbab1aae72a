// Command godwit is the edge: what is reported elsewhere is its work.
package main

func serve(work func()) { go work() }

func main() { serve(func() {}) }
