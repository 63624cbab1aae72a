package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

const doc = `report what makes a run depend on something else than its seed

Outside the edge (engine/host and cmd) and outside tests it reports
  - go statements and sync.WaitGroup.Go: who runs next is the scheduler's choice;
  - select statements: the runtime picks one of several ready cases at random;
  - iteration over a map, directly or by maps.Keys, maps.Values, maps.All, sync.Map.Range or reflection, unless the
    order can be seen not to matter (see the file orderless.go);
  - writes to package variables: two nodes in one process would share them.

An exception is a comment on the line, or alone on the line above, that says why it is none:
	//det:ok <reason>
A comment without a reason, and one that excuses nothing, are reported too.`

var analyzer = &analysis.Analyzer{Name: "detlint", Doc: doc, Run: run}

// atTheEdge reports whether a package may use goroutines and the real world: those that carry out the seams of
// engine/env, and the commands.
func atTheEdge(path string) bool {
	path, _, _ = strings.Cut(path, " ") // vet names a package's test variant "p [p.test]"
	return path == "godwit/engine/host" || strings.HasPrefix(path, "godwit/engine/host/") || strings.HasPrefix(path, "godwit/cmd/")
}

// restless are the functions whose effect or result depends on the scheduler or on the order of a map.
var restless = map[string]string{
	"(*sync.WaitGroup).Go":       "starts a goroutine: submit the step to env.Workers",
	"(*sync.Map).Range":          "visits its keys in random order",
	"(reflect.Value).MapKeys":    "gives keys in random order",
	"(reflect.Value).MapRange":   "visits keys in random order",
	"maps.Keys":                  "gives keys in random order: wrap it in slices.Sorted",
	"maps.Values":                "gives values in random order: wrap it in slices.SortedFunc",
	"maps.All":                   "visits keys in random order",
	"golang.org/x/exp/maps.Keys": "gives keys in random order: use slices.Sorted(maps.Keys(m))",
}

// settling are the functions that make the order of an iterator given to them unobservable.
var settling = map[string]bool{
	"slices.Sorted": true, "slices.SortedFunc": true, "slices.SortedStableFunc": true,
	"maps.Collect": true, "maps.Insert": true,
}

// checker looks at one file.
type checker struct {
	pass    *analysis.Pass
	excuses map[int]*excuse        // by line that they excuse
	next    map[ast.Stmt]ast.Stmt  // the statement after a statement, within its block
	settled map[*ast.CallExpr]bool // calls whose result goes straight to a settling function
}

// excuse is one //det:ok comment.
type excuse struct {
	comment *ast.Comment
	used    bool
}

func run(pass *analysis.Pass) (any, error) {
	if atTheEdge(pass.Pkg.Path()) {
		return nil, nil
	}
	for _, file := range pass.Files {
		name := pass.Fset.Position(file.Package).Filename
		if strings.HasSuffix(name, "_test.go") || !strings.HasSuffix(name, ".go") { // the latter is a test's generated main
			continue
		}
		c := &checker{pass: pass, next: make(map[ast.Stmt]ast.Stmt), settled: make(map[*ast.CallExpr]bool)}
		c.readExcuses(file)
		ast.Inspect(file, c.visit)
		c.reportIdleExcuses(file)
	}
	return nil, nil
}

func (c *checker) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BlockStmt:
		c.noteOrder(n.List)
	case *ast.CaseClause:
		c.noteOrder(n.Body)
	case *ast.CommClause:
		c.noteOrder(n.Body)
	case *ast.GoStmt:
		c.report(n.Pos(), "go statement outside engine/host and cmd: submit the step to env.Workers")
	case *ast.SelectStmt:
		c.report(n.Pos(), "select picks one of several ready cases at random")
	case *ast.RangeStmt:
		c.checkRange(n)
	case *ast.CallExpr:
		c.checkCall(n)
	case *ast.AssignStmt:
		for _, lhs := range n.Lhs {
			c.checkWrite(lhs)
		}
	case *ast.IncDecStmt:
		c.checkWrite(n.X)
	}
	return true
}

// noteOrder remembers which statement follows which.
func (c *checker) noteOrder(list []ast.Stmt) {
	for i := 1; i < len(list); i++ {
		c.next[list[i-1]] = list[i]
	}
}

func (c *checker) checkRange(loop *ast.RangeStmt) {
	if loop.Key == nil && loop.Value == nil || !isMap(c.pass.TypesInfo.TypeOf(loop.X)) {
		return
	}
	if orderless(c.pass.TypesInfo, loop, c.next[loop]) {
		if e := c.excuses[c.line(loop.Pos())]; e != nil {
			e.used = true // it says why, too
		}
		return
	}
	c.report(loop.Pos(), "range over the map %s: the order is random; sort the keys first", types.ExprString(loop.X))
}

func (c *checker) checkCall(call *ast.CallExpr) {
	name := calleeName(c.pass.TypesInfo, call)
	if settling[name] {
		for _, arg := range call.Args {
			if inner, ok := ast.Unparen(arg).(*ast.CallExpr); ok {
				c.settled[inner] = true
			}
		}
	}
	if why, bad := restless[name]; bad && !c.settled[call] {
		c.report(call.Pos(), "%s %s", name, why)
	}
	if isBuiltin(c.pass.TypesInfo, call, "delete") || isBuiltin(c.pass.TypesInfo, call, "clear") {
		c.checkWrite(call.Args[0])
	}
}

// checkWrite reports a write to a package variable or to something inside it.
func (c *checker) checkWrite(target ast.Expr) {
	for e := target; ; {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if _, isPkg := c.pass.TypesInfo.Uses[rootIdent(x.X)].(*types.PkgName); isPkg {
				e = x.Sel
			} else {
				e = x.X
			}
		case *ast.Ident:
			v, ok := c.pass.TypesInfo.Uses[x].(*types.Var)
			if ok && !v.IsField() && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
				c.report(target.Pos(), "write to the package variable %s: nodes of one process would share it", v.Name())
			}
			return
		default:
			return
		}
	}
}

// readExcuses collects the //det:ok comments of a file: each excuses its own line, or the next when it stands alone.
func (c *checker) readExcuses(file *ast.File) {
	code := make(map[int]bool) // lines on which something of the program begins or ends
	ast.Inspect(file, func(n ast.Node) bool {
		switch n.(type) {
		case nil, *ast.Comment, *ast.CommentGroup:
			return false
		}
		code[c.line(n.Pos())] = true
		code[c.line(n.End()-1)] = true
		return true
	})
	c.excuses = make(map[int]*excuse)
	for _, group := range file.Comments {
		for _, comment := range group.List {
			reason, ok := strings.CutPrefix(comment.Text, "//det:ok")
			if !ok {
				continue
			}
			reason, _, _ = strings.Cut(reason, "//")
			if strings.TrimSpace(reason) == "" {
				c.pass.Reportf(comment.Pos(), "det:ok without a reason")
				continue
			}
			line := c.line(comment.Pos())
			if !code[line] {
				line++
			}
			c.excuses[line] = &excuse{comment: comment}
		}
	}
}

func (c *checker) reportIdleExcuses(file *ast.File) {
	first, last := c.line(file.FileStart), c.line(file.FileEnd)
	for line := first; line <= last+1; line++ {
		if e := c.excuses[line]; e != nil && !e.used {
			c.pass.Reportf(e.comment.Pos(), "det:ok excuses nothing here")
		}
	}
}

func (c *checker) report(pos token.Pos, format string, args ...any) {
	if e := c.excuses[c.line(pos)]; e != nil {
		e.used = true
		return
	}
	c.pass.Reportf(pos, format+" (or say why it is harmless: //det:ok <reason>)", args...)
}

func (c *checker) line(pos token.Pos) int { return c.pass.Fset.Position(pos).Line }

// calleeName is the full name of the function or method that a call names, or "" when it names none.
func calleeName(info *types.Info, call *ast.CallExpr) string {
	fn, ok := typeutil.Callee(info, call).(*types.Func)
	if !ok {
		return ""
	}
	return fn.Origin().FullName()
}

func isBuiltin(info *types.Info, call *ast.CallExpr, name string) bool {
	b, ok := typeutil.Callee(info, call).(*types.Builtin)
	return ok && b.Name() == name
}

// rootIdent is the identifier that e is, or nil.
func rootIdent(e ast.Expr) *ast.Ident {
	id, _ := ast.Unparen(e).(*ast.Ident)
	return id
}

// isMap reports whether t is a map, or a type parameter that may be one.
func isMap(t types.Type) bool {
	if t == nil {
		return false
	}
	switch u := t.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface:
		for i := range u.NumEmbeddeds() {
			union, ok := u.EmbeddedType(i).(*types.Union)
			for j := 0; ok && j < union.Len(); j++ {
				if isMap(union.Term(j).Type()) {
					return true
				}
			}
		}
	}
	return false
}
