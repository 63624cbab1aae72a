package engine

import (
	"sync/atomic"
)

// config holds the settings that can be changed while the node runs.
type config struct {
	sync        atomic.Uint32
	requirepass atomic.Pointer[string]
}

func (c *config) init(o *Options) {
	c.sync.Store(uint32(o.Sync))
	c.requirepass.Store(&o.RequirePass)
}

func (n *Node) syncMode() SyncMode { return SyncMode(n.config.sync.Load()) }

func (n *Node) password() string { return *n.config.requirepass.Load() }
