//go:build !linux

package host

import (
	"log/slog"
	"net"
)

// loops are for systems with epoll. Elsewhere each connection has a goroutine.
type loops struct{}

// hasLoops says that this system has no loops.
const hasLoops = false

func startLoops(int, *Syncer, rounds, *slog.Logger) (*loops, error) { return &loops{}, nil }

func (*loops) adopt(*conn, net.Conn) looped { return nil }

func (*loops) close() {}
