//go:build !linux || !cgo

package main

// useHugePages does nothing: it is glibc that gives out huge pages.
func useHugePages() {}
