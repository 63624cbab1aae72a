package engine

// Error replies of the node itself; those of data commands are in package command, those of routing in package cluster.
const (
	errNoAuth   = "NOAUTH Authentication required."
	errInternal = "ERR internal error: the store could not be read, see the server's log"
)
