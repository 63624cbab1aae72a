package command

import (
	"strings"

	"godwit/engine/data"
)

// maxCommonCells bounds what LCS compares, as Redis does with the default of proto-max-bulk-len: every byte of one string, and one place
// more, with every byte of the other. Redis takes 4 bytes for each; here it is a bit, so 16 MiB at most.
const maxCommonCells = maxString / 4

// lcsOptions is the options of LCS.
type lcsOptions struct {
	length, ranges bool // the reply is the length; the ranges that the strings share
	withLengths    bool // each range is followed by its length
	minLength      int64
}

func lcs(c *Context) {
	first, second := c.Tx.Load(c.Args[1]), c.Tx.Load(c.Args[2])
	if first.Found && first.Type != data.String || second.Found && second.Type != data.String {
		c.Out.Error(errCommonType)
		return
	}
	o, ok := c.parseLCSOptions()
	if !ok {
		return
	}
	a, b := first.Value, second.Value
	if uint64(len(a)+1)*uint64(len(b)+1) > maxCommonCells {
		c.Out.Error(errCommonTooBig)
		return
	}
	if o.length {
		c.Out.Int(int64(commonLength(a, b, nil)))
		return
	}
	c.replyCommon(a, b, o)
}

// parseLCSOptions reads the options, or replies with an error.
func (c *Context) parseLCSOptions() (o lcsOptions, ok bool) {
	for i := 3; i < len(c.Args); i++ {
		switch strings.ToLower(string(c.Args[i])) {
		case "len":
			o.length = true
			continue
		case "idx":
			o.ranges = true
			continue
		case "withmatchlen":
			o.withLengths = true
			continue
		case "minmatchlen":
			if i++; i < len(c.Args) {
				if o.minLength, ok = parseInt(c.Args[i]); !ok {
					c.Out.Error(errNotInteger)
					return o, false
				}
				continue
			}
		}
		c.Out.Error(errSyntax)
		return o, false
	}
	if o.length && o.ranges {
		c.Out.Error(errCommonBoth)
		return o, false
	}
	return o, true
}

// commonLength is the length of the longest common subsequence. shorten, if not nil, gets the bit i*len(b)+j for each pair of different
// bytes a[i] and b[j] at which the strings that end there share more without the byte of a than without that of b.
func commonLength(a, b []byte, shorten []uint64) int {
	long, short := a, b
	if len(b) > len(a) {
		long, short = b, a
	}
	row := make([]uint32, len(short)+1) // row[j] is the length for short[:j] and what of long has been gone through
	for i := range long {
		diagonal := uint32(0)
		for j := range short {
			above, left := row[j+1], row[j]
			switch {
			case long[i] == short[j]:
				row[j+1] = diagonal + 1
			case above > left:
				row[j+1] = above
				if len(b) <= len(a) {
					setBit(shorten, i*len(b)+j)
				}
			case above < left:
				row[j+1] = left
				if len(b) > len(a) {
					setBit(shorten, j*len(b)+i)
				}
			}
			diagonal = above
		}
	}
	return int(row[len(short)])
}

func setBit(bits []uint64, i int) {
	if bits != nil {
		bits[i/64] |= 1 << (i % 64)
	}
}

// commonRange is a run of bytes that both strings have: a[a:a+length] and b[b:b+length].
type commonRange struct{ a, b, length int }

// replyCommon replies with the longest common subsequence, or with its ranges, the last one first.
func (c *Context) replyCommon(a, b []byte, o lcsOptions) {
	shorten := make([]uint64, (len(a)*len(b)+63)/64)
	length := commonLength(a, b, shorten)
	common := make([]byte, length)
	var found []commonRange
	run := commonRange{}
	end := func() {
		if run.length > 0 && int64(run.length) >= o.minLength {
			found = append(found, run)
		}
		run = commonRange{}
	}
	for i, j, left := len(a), len(b), length; i > 0 && j > 0; {
		switch cell := (i-1)*len(b) + j - 1; {
		case a[i-1] == b[j-1]:
			i, j, left = i-1, j-1, left-1
			common[left] = a[i]
			run = commonRange{i, j, run.length + 1}
		case shorten[cell/64]>>(cell%64)&1 != 0:
			end()
			i--
		default:
			end()
			j--
		}
	}
	end()
	if !o.ranges {
		c.Out.Bulk(common)
		return
	}
	c.Out.Map(2)
	c.Out.BulkString("matches")
	c.Out.Array(len(found))
	for _, r := range found {
		n := 2
		if o.withLengths {
			n++
		}
		c.Out.Array(n)
		for _, start := range []int{r.a, r.b} {
			c.Out.Array(2)
			c.Out.Int(int64(start))
			c.Out.Int(int64(start + r.length - 1))
		}
		if o.withLengths {
			c.Out.Int(int64(r.length))
		}
	}
	c.Out.BulkString("len")
	c.Out.Int(int64(length))
}
