package command

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	"godwit/engine/data"
	"godwit/engine/key"
)

func sortSpecs() []*Spec {
	const group = "generic"
	const complexity = "O(N+M*log(N)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N)."
	const differs = "ALPHA compares bytes, whatever the locale; sorts up to 1 GiB"
	return []*Spec{
		{Name: "sort", Arity: -2, Flags: Write | DenyOOM | Movable | Dangerous, FirstKey: 1, LastKey: 1, Step: 1, Optional: sortStorePosition, Reaches: sortReaches,
			Handler: sortWith(sortStores),
			Group:   group, Since: "1.0.0", Complexity: complexity, Summary: "Sort the elements in a list, set or sorted set", Differs: differs},
		{Name: "sort_ro", Arity: -2, Flags: ReadOnly | Movable | Dangerous, FirstKey: 1, LastKey: 1, Step: 1, Reaches: sortReaches,
			Handler: sortWith(sortReads),
			Group:   group, Since: "7.0.0", Complexity: complexity, Summary: "Sort the elements in a list, set or sorted set. Read-only variant of SORT.", Differs: differs},
	}
}

// sortRight says which options a command allows.
type sortRight uint8

const (
	sortReads sortRight = iota
	sortStores
)

// sortWidth is how many arguments an option of SORT has behind its name.
func sortWidth(option string) int {
	switch option {
	case "limit":
		return 2
	case "by", "get", "store":
		return 1
	}
	return 0
}

// sortReaches reports whether a request has a pattern, of which the keys follow from what is sorted.
func sortReaches(args [][]byte) bool {
	for i := 2; i < len(args); i++ {
		word := strings.ToLower(string(args[i]))
		if (word == "by" || word == "get") && i+1 < len(args) && isKeyPattern(args[i+1]) {
			return true
		}
		i += sortWidth(word)
	}
	return false
}

// sortStorePosition is the position of the key that STORE names, the last one if there are several, 0 if there is none.
func sortStorePosition(args [][]byte) (at int) {
	for i := 2; i < len(args); i++ {
		word := strings.ToLower(string(args[i]))
		if word == "store" && i+1 < len(args) {
			at = i + 1
		}
		i += sortWidth(word)
	}
	return at
}

// isKeyPattern reports whether a pattern of SORT names keys: without an asterisk it names none.
func isKeyPattern(pattern []byte) bool { return bytes.IndexByte(pattern, '*') >= 0 }

// sortOptions is what the options of SORT say.
type sortOptions struct {
	order   data.Order
	alpha   bool
	as      bool     // whether there is an order at all; a BY that is no pattern says no
	by      []byte   // the pattern of the weights, nil to sort by the elements
	gets    [][]byte // patterns of what is returned; none means the elements
	store   []byte   // the key of the result, nil to reply with it
	skip    int64
	limited int64 // how many are returned, all if negative
}

// parseSort reads the options of SORT and SORT_RO, or replies with an error.
func (c *Context) parseSort(right sortRight) (o sortOptions, ok bool) {
	o = sortOptions{as: true, limited: -1}
	for args := c.Args[2:]; len(args) > 0; {
		word := strings.ToLower(string(args[0]))
		width := sortWidth(word)
		if len(args) <= width {
			word = "" // without its arguments it is no option
		}
		switch {
		case word == "asc":
			o.order = data.Ascending
		case word == "desc":
			o.order = data.Descending
		case word == "alpha":
			o.alpha = true
		case word == "limit":
			if o.skip, o.limited, ok = c.parseRange(args[1], args[2]); !ok {
				return o, false
			}
		case word == "store" && right == sortStores:
			o.store = args[1]
		case word == "by" && isKeyPattern(args[1]):
			if c.Cluster {
				c.Out.Error(errSortBy)
				return o, false
			}
			o.by = args[1]
		case word == "by":
			o.as = false
		case word == "get":
			if c.Cluster {
				c.Out.Error(errSortGet)
				return o, false
			}
			o.gets = append(o.gets, args[1])
		default:
			c.Out.Error(errSyntax)
			return o, false
		}
		args = args[1+width:]
	}
	return o, true
}

// sortWith makes the handler of SORT or SORT_RO.
func sortWith(right sortRight) Handler {
	return func(c *Context) {
		o, ok := c.parseSort(right)
		if !ok {
			return
		}
		e := c.Tx.Load(c.Args[1])
		if e.Found && e.Type != data.List && e.Type != data.Set && e.Type != data.ZSet {
			c.Out.Error(errWrongType)
			return
		}
		if e.Type == data.Set && !o.as && o.store != nil {
			o.as, o.alpha, o.by = true, true, nil // what is stored must not hang on the order of a set
		}
		elements, ok := c.sorted(&e, &o)
		switch {
		case !ok:
		case o.store == nil:
			c.replySorted(elements, &o)
		default:
			c.storeSorted(elements, &o)
		}
	}
}

// window is the place and the number of what LIMIT leaves of n elements.
func (o *sortOptions) window(n uint64) (first, count uint64) {
	first = min(uint64(max(o.skip, 0)), n)
	count = n - first
	if o.limited >= 0 {
		count = min(count, uint64(o.limited))
	}
	return first, count
}

// sorted returns the elements that are asked for, in order, or replies with an error.
func (c *Context) sorted(e *data.Entry, o *sortOptions) (elements [][]byte, ok bool) {
	first, count := o.window(e.Size)
	if !o.as && e.Type != data.Set { // in its own order
		return c.ownOrder(e, o.order, first, count)
	}
	elements, ok = c.ownOrder(e, data.Ascending, 0, e.Size)
	if !ok {
		return nil, false
	}
	if o.as {
		if elements, ok = c.sortElements(elements, o); !ok {
			return nil, false
		}
	}
	return elements[first:][:count], true
}

// ownOrder returns copies of some elements, in the order in which a collection keeps them, or replies with an error. A set has no order
// and is returned whole.
func (c *Context) ownOrder(e *data.Entry, o data.Order, first, count uint64) (elements [][]byte, ok bool) {
	size := 0
	keep := func(b []byte) bool {
		size += len(b)
		elements = append(elements, append([]byte{}, b...)) // never nil
		return size <= c.replyLimit()
	}
	switch {
	case count == 0:
	case e.Type == data.List:
		l, _ := c.Tx.OpenList(e.Key)
		if o == data.Ascending {
			l.Each(data.Left, first, count, keep)
		} else {
			l.Each(data.Right, l.Len()-1-first, count, keep)
		}
	case e.Type == data.Set:
		s, _ := c.Tx.Open(e.Key, data.Set)
		s.Each(func(member, _ []byte) bool { return keep(member) })
	case e.Type == data.ZSet:
		z, _ := c.Tx.OpenSortedSet(e.Key)
		z.WalkRanks(o, first, count, func(member []byte, _ float64) bool { return keep(member) })
	}
	if size > c.replyLimit() {
		c.Out.Error(errSortTooBig)
		return nil, false
	}
	if c.Tx.Err() != nil { // then there may be fewer
		return nil, false
	}
	return elements, true
}

// sortItem is an element and what it is sorted by.
type sortItem struct {
	element []byte
	number  float64
	text    []byte // with ALPHA; nil, which is less than all texts, if there is no such key
}

// sortElements puts elements in order, or replies with an error. Those of one weight are ordered by their bytes.
func (c *Context) sortElements(elements [][]byte, o *sortOptions) (inOrder [][]byte, ok bool) {
	items := make([]sortItem, len(elements))
	size := 0
	for i, element := range elements {
		items[i] = sortItem{element: element, text: element}
		weight := element
		if o.by != nil {
			weight = c.byPattern(o.by, element)
			items[i].text = weight
			if size += len(weight); size > c.replyLimit() {
				c.Out.Error(errSortTooBig)
				return nil, false
			}
		}
		if o.alpha || weight == nil {
			continue
		}
		if items[i].number, ok = parseSortNumber(weight); !ok {
			c.Out.Error(errSortNumber)
			return nil, false
		}
	}
	slices.SortFunc(items, func(a, b sortItem) int {
		d := 0
		switch {
		case !o.alpha && a.number < b.number:
			d = -1
		case !o.alpha && a.number > b.number:
			d = 1
		case o.alpha && (a.text == nil) != (b.text == nil):
			d = 1
			if a.text == nil {
				d = -1
			}
		case o.alpha:
			d = bytes.Compare(a.text, b.text)
		}
		if d == 0 {
			d = bytes.Compare(a.element, b.element)
		}
		if o.order == data.Descending {
			return -d
		}
		return d
	})
	for i := range items {
		elements[i] = items[i].element
	}
	return elements, true
}

// parseSortNumber reads a number as strtod does: behind spaces, up to a zero byte, and nothing as 0; neither NaN nor what a double
// cannot hold.
func parseSortNumber(b []byte) (f float64, ok bool) {
	text := echo(b, len(b))
	if text == "" {
		return 0, true
	}
	text = strings.ToLower(strings.TrimLeft(text, " \t\n\v\f\r"))
	hex := strings.Contains(text, "0x")
	if hex && !strings.Contains(text, "p") {
		text += "p0"
	}
	if strings.Contains(text, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) {
		return 0, false
	}
	const smallestNormal = 0x1p-1022
	digits, _, _ := strings.Cut(text, "e")
	tooSmall := math.Abs(f) < smallestNormal && !hex && strings.ContainsAny(digits, "123456789")
	return f, !tooSmall
}

// byPattern looks up the string, or behind -> the field of a hash, that a pattern names for an element, nil if there is none. # is
// the element itself.
func (c *Context) byPattern(pattern, element []byte) []byte {
	if string(pattern) == "#" {
		return element
	}
	before, after, found := bytes.Cut(pattern, []byte("*"))
	if !found {
		return nil
	}
	after, field, isField := bytes.Cut(after, []byte("->"))
	if isField && len(field) == 0 {
		after, isField = append(bytes.Clone(after), "->"...), false
	}
	user := slices.Concat(before, element, after)
	if len(user) > key.MaxUserKey {
		return nil // there is no such key
	}
	if isField {
		h, ok := c.Tx.Open(user, data.Hash)
		if !ok {
			return nil
		}
		value, found := h.Get(field)
		switch {
		case !found:
			return nil
		case value == nil:
			return []byte{}
		}
		return value
	}
	e := c.Tx.Load(user)
	if !e.Found || e.Type != data.String {
		return nil
	}
	if e.Value == nil {
		return []byte{}
	}
	return e.Value
}

// replySorted replies with elements, or what the patterns of GET make of them.
func (c *Context) replySorted(elements [][]byte, o *sortOptions) {
	start := c.Out.Len()
	c.Out.Array(len(elements) * max(len(o.gets), 1))
	c.eachSorted(elements, o, func(b []byte) bool {
		if b == nil {
			c.Out.Null()
		} else {
			c.Out.Bulk(b)
		}
		return !c.tooBig(start)
	})
}

// storeSorted makes a list of elements, or of what the patterns of GET make of them, and replies with its length.
func (c *Context) storeSorted(elements [][]byte, o *sortOptions) {
	e := c.Tx.Load(o.store)
	l := c.Tx.ReplaceList(&e)
	c.eachSorted(elements, o, func(b []byte) bool {
		l.Push(data.Right, b)
		return c.Tx.Err() == nil
	})
	l.Save()
	c.Out.Int(int64(l.Len()))
}

// eachSorted visits elements, or what the patterns of GET make of them, nil for what is not there, until visit returns false.
func (c *Context) eachSorted(elements [][]byte, o *sortOptions, visit func(b []byte) bool) {
	for _, element := range elements {
		if len(o.gets) == 0 && !visit(element) {
			return
		}
		for _, pattern := range o.gets {
			if !visit(c.byPattern(pattern, element)) {
				return
			}
		}
	}
}
