package command

import (
	"strings"

	"godwit/engine/data"
)

// objectSpecs describes the commands that look at how a value is kept. Their containers are carried out by nobody: a request
// without a subcommand has too few arguments.
func objectSpecs() []*Spec {
	return []*Spec{
		{Name: "object", Arity: -2, Flags: Server,
			Group: "generic", Since: "2.2.3", Complexity: "Depends on subcommand.", Summary: "A container for object introspection commands",
			Sub: []*Spec{
				{Name: "object|encoding", Arity: 3, Flags: ReadOnly, FirstKey: 2, LastKey: 2, Step: 1, Handler: objectEncoding,
					Group: "generic", Since: "2.2.3", Complexity: "O(1)", Summary: "Inspect the internal encoding of a Redis object",
					Differs: "names the encoding that Redis would choose for a value of that size; there is one encoding of each type"},
				{Name: "object|freq", Arity: 3, Flags: ReadOnly, FirstKey: 2, LastKey: 2, Step: 1, Handler: objectFreq,
					Group: "generic", Since: "4.0.0", Complexity: "O(1)", Summary: "Get the logarithmic access frequency counter of a Redis object",
					Differs: "answers as Redis without an LFU policy does: nothing is evicted, so nothing is counted"},
				{Name: "object|idletime", Arity: 3, Flags: ReadOnly, FirstKey: 2, LastKey: 2, Step: 1, Handler: objectConstant(0),
					Group: "generic", Since: "2.2.3", Complexity: "O(1)", Summary: "Get the time since a Redis object was last accessed",
					Differs: "always 0: a read does not write when it was"},
				{Name: "object|refcount", Arity: 3, Flags: ReadOnly, FirstKey: 2, LastKey: 2, Step: 1, Handler: objectConstant(1),
					Group: "generic", Since: "2.2.3", Complexity: "O(1)", Summary: "Get the number of references to the value of the key",
					Differs: "always 1: values are not shared"},
			}},
		{Name: "memory", Arity: -2, Flags: Server,
			Group: "server", Since: "4.0.0", Complexity: "Depends on subcommand.", Summary: "A container for memory diagnostics commands",
			Sub: []*Spec{
				{Name: "memory|usage", Arity: -3, Flags: ReadOnly, FirstKey: 2, LastKey: 2, Step: 1, Handler: memoryUsage,
					Group: "server", Since: "4.0.0", Complexity: "O(N) where N is the number of samples.", Summary: "Estimate the memory usage of a key",
					Differs: "counts the bytes of what is written to the disk, before compression"},
			}},
	}
}

// Up to so many elements Redis 7.2 keeps a collection in one piece, and a string with its object.
const (
	packedMax   = 128
	embeddedMax = 44
)

func objectEncoding(c *Context) {
	e := c.Tx.Load(c.Args[2])
	if !e.Found {
		c.Out.Null()
		return
	}
	c.Out.BulkString(encodingName(&e.Record))
}

// encodingName is the encoding that Redis would choose for a value of that type and size.
func encodingName(r *data.Record) string {
	switch r.Type {
	case data.String:
		if _, ok := parseInt(r.Value); ok {
			return "int"
		}
		if len(r.Value) <= embeddedMax {
			return "embstr"
		}
		return "raw"
	case data.Hash, data.Set, data.ZSet, data.List:
		if r.Size <= packedMax {
			return "listpack"
		}
	case data.Stream:
		return "stream"
	}
	switch r.Type {
	case data.ZSet:
		return "skiplist"
	case data.List:
		return "quicklist"
	default:
		return "hashtable"
	}
}

func objectFreq(c *Context) {
	if e := c.Tx.Load(c.Args[2]); !e.Found {
		c.Out.Null()
		return
	}
	c.Out.Error(errNoLFU)
}

// objectConstant makes the handler of OBJECT IDLETIME and OBJECT REFCOUNT, of which nothing is kept.
func objectConstant(n int64) Handler {
	return func(c *Context) {
		if e := c.Tx.Load(c.Args[2]); !e.Found {
			c.Out.Null()
			return
		}
		c.Out.Int(n)
	}
}

// defaultSamples is how many elements MEMORY USAGE looks at if SAMPLES does not say, as in Redis.
const defaultSamples = 5

func memoryUsage(c *Context) {
	samples := int64(defaultSamples)
	for i := 3; i < len(c.Args); i += 2 {
		if !strings.EqualFold(string(c.Args[i]), "samples") || i+1 == len(c.Args) {
			c.Out.Error(errSyntax)
			return
		}
		n, ok := parseInt(c.Args[i+1])
		if !ok {
			c.Out.Error(errNotInteger)
			return
		}
		if n < 0 {
			c.Out.Error(errSyntax)
			return
		}
		samples = n
	}
	e := c.Tx.Load(c.Args[2])
	if !e.Found {
		c.Out.Null()
		return
	}
	c.Out.Int(int64(c.Tx.Bytes(&e, uint64(samples))))
}
