//go:build linux && cgo

package main

import (
	"os"
	"strings"
	"syscall"
)

// Pebble takes its memory tables from glibc, 64 MiB at a time, and each write looks for its place in one, at addresses all over it. In pages
// of 4 KiB most of these looks miss the processor's table of pages, which costs as much as missing its cache. glibc asks the system for pages of 2 MiB
// if a variable says so when the program begins, and in no other way.
const (
	tunables  = "GLIBC_TUNABLES"
	hugePages = "glibc.malloc.hugetlb"
)

// useHugePages starts the program anew, in the same process, with huge pages for what Pebble allocates, unless the environment says already
// whether to use them. If that fails, the program goes on with small ones.
func useHugePages() {
	now := os.Getenv(tunables)
	if strings.Contains(now, hugePages) {
		return
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	set := hugePages + "=1"
	if now != "" {
		set = now + ":" + set
	}
	env := []string{tunables + "=" + set}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, tunables+"=") {
			env = append(env, v)
		}
	}
	_ = syscall.Exec(program, os.Args, env) //nolint:gosec // this program, as it was called
}
