//go:build linux && cgo

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestServerUsesHugePages: a server asks glibc for huge pages, beside what the environment asks it for, unless that says otherwise.
func TestServerUsesHugePages(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"", "glibc.malloc.hugetlb=1"},
		{"glibc.malloc.arena_max=4", "glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1"},
		{"glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"},
	} {
		p := startServerWith(t, []string{"GLIBC_TUNABLES=" + c.given}, "--dir", t.TempDir())
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		env := ":" + strings.ReplaceAll(string(b), "\x00", ":") // glibc ends each of its settings by a zero in place of the colon
		if !strings.Contains(env, ":GLIBC_TUNABLES="+c.want+":") || strings.Count(env, ":GLIBC_TUNABLES=") != 1 {
			t.Errorf("given %q, the environment of the server is %q, want %q in it", c.given, env, c.want)
		}
		p.signal(syscall.SIGTERM)
	}
}
