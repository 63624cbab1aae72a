package command

import (
	"sort"
	"strings"

	"godwit/engine/resp"
)

// WriteCommand replies to COMMAND and its subcommands. args is a request that Check accepted for "command" or "command|…".
func (t *Table) WriteCommand(args [][]byte, out *resp.Writer) {
	if len(args) == 1 {
		t.writeInfos(t.all, out)
		return
	}
	switch strings.ToLower(string(args[1])) {
	case "count":
		out.Int(int64(len(t.all)))
	case "docs":
		t.WriteCommandDocs(args[2:], out)
	case "getkeys":
		t.WriteGetKeys(args[2:], out)
	case "info":
		t.WriteCommandInfo(args[2:], out)
	case "list":
		t.WriteCommandList(args[2:], out)
	default:
		out.Error(errUnknownSub(args[0], args[1]))
	}
}

// WriteCommandInfo replies to COMMAND INFO with the named commands, null for those unknown; all commands if none is named.
func (t *Table) WriteCommandInfo(names [][]byte, out *resp.Writer) {
	if len(names) == 0 {
		t.writeInfos(t.all, out)
		return
	}
	specs := make([]*Spec, len(names))
	for i, n := range names {
		specs[i] = t.lookupFull(n)
	}
	t.writeInfos(specs, out)
}

func (t *Table) writeInfos(specs []*Spec, out *resp.Writer) {
	out.Array(len(specs))
	for _, s := range specs {
		if s == nil {
			out.Null()
			continue
		}
		out.Array(10)
		out.BulkString(s.Name)
		out.Int(int64(s.Arity))
		writeNames(flagNames(s), out)
		out.Int(int64(s.FirstKey))
		out.Int(int64(s.LastKey))
		out.Int(int64(s.Step))
		writeNames(categories(s), out)
		out.Array(0) // tips
		writeKeySpecs(s, out)
		t.writeInfos(s.Sub, out)
	}
}

func writeNames(names []string, out *resp.Writer) {
	out.Set(len(names))
	for _, n := range names {
		out.Simple(n)
	}
}

// flagNames are the names that Redis gives to a command's flags; flags of our own are not shown.
func flagNames(s *Spec) (names []string) {
	for _, f := range [...]struct {
		flag Flag
		name string
	}{
		{Write, "write"}, {ReadOnly, "readonly"}, {DenyOOM, "denyoom"}, {Admin, "admin"}, {Pubsub, "pubsub"}, {NoScript, "noscript"},
		{Blocking, "blocking"}, {Loading, "loading"}, {Stale, "stale"}, {Fast, "fast"}, {Asking, "asking"}, {NoAuth, "no_auth"}, {Movable, "movablekeys"},
	} {
		if s.Is(f.flag) {
			names = append(names, f.name)
		}
	}
	return names
}

// categories are the ACL categories of a command, which follow from its group and flags.
func categories(s *Spec) (names []string) {
	for _, c := range [...]struct {
		in   bool
		name string
	}{
		{s.Group == "generic" && len(s.Sub) == 0 && !s.Is(Connection) && s.Reaches == nil || s.Group == "server" && (s.Is(NodeWide) || s.Is(Asking)), "@keyspace"},
		{s.Is(ReadOnly), "@read"},
		{s.Is(Write), "@write"},
		{s.Group == "string", "@string"},
		{s.Group == "bitmap", "@bitmap"},
		{s.Group == "hash", "@hash"},
		{s.Group == "list" || s.Reaches != nil, "@list"},
		{s.Group == "set" || s.Reaches != nil, "@set"},
		{s.Group == "sorted-set" || s.Reaches != nil, "@sortedset"},
		{s.Is(Admin), "@admin"},
		{s.Is(Fast), "@fast"},
		{!s.Is(Fast), "@slow"},
		{s.Is(Blocking), "@blocking"},
		{s.Is(Admin) || s.Is(Dangerous), "@dangerous"},
		{s.Group == "transactions", "@transaction"},
		{s.Group == "connection" && len(s.Sub) == 0 || s.Is(Connection), "@connection"},
	} {
		if c.in {
			names = append(names, c.name)
		}
	}
	return names
}

// keyPlace is one key specification: keys from a position on.
type keyPlace struct {
	first int // 0 if it cannot be told
	last  int // from first on, or from the end if negative
	step  int
	count bool // first holds the number of the keys behind it
	// keyword, if not "", stands before the keys; where is not said.
	keyword string
}

// keyPlaces are the key specifications of a command.
func keyPlaces(s *Spec) (places []keyPlace) {
	first, last := s.FirstKey, s.LastKey
	if first > 0 && s.Is(Apart) {
		places = append(places, keyPlace{first: first, step: 1})
		first++
	}
	if first > 0 && (last < 0 || last >= first) {
		if last > 0 {
			last -= first
		}
		places = append(places, keyPlace{first: first, last: last, step: s.Step})
	}
	if s.Reaches != nil {
		places = append(places, keyPlace{})
	}
	if s.Optional != nil {
		places = append(places, keyPlace{})
	}
	if s.Count > 0 {
		places = append(places, keyPlace{first: s.Count, count: true})
	}
	if s.Keyword != "" {
		places = append(places, keyPlace{keyword: s.Keyword, last: -1, step: 1})
	}
	return places
}

func writeKeySpecs(s *Spec, out *resp.Writer) {
	places := keyPlaces(s)
	out.Array(len(places))
	for _, p := range places {
		out.Map(3)
		out.BulkString("flags")
		if s.Is(Write) {
			writeNames([]string{"RW", "access", "update"}, out)
		} else {
			writeNames([]string{"RO", "access"}, out)
		}
		out.BulkString("begin_search")
		out.Map(2)
		if p.keyword != "" {
			out.BulkString("type")
			out.BulkString("keyword")
			out.BulkString("spec")
			out.Map(2)
			out.BulkString("keyword")
			out.BulkString(p.keyword)
			out.BulkString("startfrom")
			out.Int(-2) // it is looked for from the last argument but one, backwards
			writeFindKeys(p, out)
			continue
		}
		if p.first == 0 {
			writeUnknown(out)
			out.BulkString("find_keys")
			out.Map(2)
			writeUnknown(out)
			continue
		}
		out.BulkString("type")
		out.BulkString("index")
		out.BulkString("spec")
		out.Map(1)
		out.BulkString("index")
		out.Int(int64(p.first))
		writeFindKeys(p, out)
	}
}

func writeUnknown(out *resp.Writer) {
	out.BulkString("type")
	out.BulkString("unknown")
	out.BulkString("spec")
	out.Map(0)
}

func writeFindKeys(p keyPlace, out *resp.Writer) {
	how := "range"
	fields := []struct {
		name  string
		value int
	}{{"lastkey", p.last}, {"keystep", p.step}, {"limit", 0}}
	if p.count {
		how = "keynum"
		fields[0].name, fields[0].value = "keynumidx", 0
		fields[1].name, fields[1].value = "firstkey", 1
		fields[2].name, fields[2].value = "keystep", 1
	}
	out.BulkString("find_keys")
	out.Map(2)
	out.BulkString("type")
	out.BulkString(how)
	out.BulkString("spec")
	out.Map(len(fields))
	for _, f := range fields {
		out.BulkString(f.name)
		out.Int(int64(f.value))
	}
}

// WriteCommandDocs replies to COMMAND DOCS with the named commands that are known; all commands if none is named.
func (t *Table) WriteCommandDocs(names [][]byte, out *resp.Writer) {
	specs := t.all
	if len(names) > 0 {
		specs = nil
		for _, n := range names {
			if s := t.lookupFull(n); s != nil {
				specs = append(specs, s)
			}
		}
	}
	writeDocs(specs, out)
}

func writeDocs(specs []*Spec, out *resp.Writer) {
	out.Map(len(specs))
	for _, s := range specs {
		out.BulkString(s.Name)
		n := 4
		if len(s.Sub) > 0 {
			n++
		}
		out.Map(n)
		out.BulkString("summary")
		out.BulkString(s.Summary)
		out.BulkString("since")
		out.BulkString(s.Since)
		out.BulkString("group")
		out.BulkString(s.Group)
		out.BulkString("complexity")
		out.BulkString(s.Complexity)
		if len(s.Sub) > 0 {
			out.BulkString("subcommands")
			writeDocs(s.Sub, out)
		}
	}
}

// WriteGetKeys replies to COMMAND GETKEYS with the keys of a request.
func (t *Table) WriteGetKeys(request [][]byte, out *resp.Writer) {
	if len(request) == 0 {
		out.Error(errBadCommand)
		return
	}
	s := t.Lookup(request[0])
	if s != nil && len(s.Sub) > 0 && len(request) > 1 {
		s = t.LookupSub(s, request[1])
	}
	switch {
	case s == nil:
		out.Error(errBadCommand)
		return
	case s.FirstKey == 0 && s.Count == 0:
		out.Error(errNoKeyArgs)
		return
	case s.Arity > 0 && len(request) != s.Arity || len(request) < -s.Arity:
		out.Error(errBadKeyArgs)
		return
	}
	positions, err := s.KeyPositions(request, nil)
	if err != nil {
		out.Error(errBadArguments)
		return
	}
	out.Array(len(positions))
	for _, i := range positions {
		out.Bulk(request[i])
	}
}

// WriteCommandList replies to COMMAND LIST with the names of all commands and subcommands, or those that a filter selects.
func (t *Table) WriteCommandList(filter [][]byte, out *resp.Writer) {
	selects := func(*Spec) bool { return true }
	if len(filter) > 0 {
		if selects = listFilter(filter); selects == nil {
			out.Error(errSyntax)
			return
		}
	}
	var names []string
	for _, s := range t.all {
		for _, s := range append([]*Spec{s}, s.Sub...) {
			if selects(s) {
				names = append(names, s.Name)
			}
		}
	}
	sort.Strings(names)
	out.Array(len(names))
	for _, n := range names {
		out.BulkString(n)
	}
}

// listFilter reads FILTERBY MODULE name, ACLCAT category or PATTERN pattern; nil if it is none of these.
func listFilter(args [][]byte) func(*Spec) bool {
	if len(args) != 3 || !strings.EqualFold(string(args[0]), "filterby") {
		return nil
	}
	switch strings.ToLower(string(args[1])) {
	case "module":
		return func(*Spec) bool { return false } // no command comes from a module
	case "aclcat":
		return func(s *Spec) bool {
			for _, c := range categories(s) {
				if strings.EqualFold(c, "@"+string(args[2])) {
					return true
				}
			}
			return false
		}
	case "pattern":
		return func(s *Spec) bool { return MatchGlob(args[2], []byte(s.Name), false) }
	}
	return nil
}
