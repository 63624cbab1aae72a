package main

import (
	"go/ast"
	"go/token"
	"go/types"
)

// orderless reports whether a loop over a map has the same effect in every order. It says so only of loops that call
// nothing (but len, cap, min, max, append, delete and conversions) and consist of
//   - integer sums and counts: n++, n += v;
//   - writes to another map under this loop's own key: other[k] = v;
//   - deletions under the loop's own key: delete(m, k);
//   - returns of one and the same constant, when the loop does nothing else: return true;
//   - s = append(s, ...), when the very next statement after the loop sorts s;
//   - if statements around these, and continue.
//
// A condition is taken not to read what the loop sums up or collects.
func orderless(info *types.Info, loop *ast.RangeStmt, after ast.Stmt) bool {
	o := &loopBody{info: info, key: rootIdent(loop.Key)}
	if !o.statements(loop.Body.List) || o.returned != "" && o.changes {
		return false
	}
	return o.collected == "" || sortsFirst(info, after, o.collected)
}

// loopBody is what has been seen of a loop.
type loopBody struct {
	info      *types.Info
	key       *ast.Ident
	collected string // the slice that the loop appends to, as text
	returned  string // what it returns, as text
	changes   bool   // it changes something
}

func (o *loopBody) statements(list []ast.Stmt) bool {
	for _, s := range list {
		if !o.statement(s) {
			return false
		}
	}
	return true
}

func (o *loopBody) statement(s ast.Stmt) bool {
	switch s := s.(type) {
	case nil:
		return true
	case *ast.BlockStmt:
		return o.statements(s.List)
	case *ast.BranchStmt:
		return s.Tok == token.CONTINUE && s.Label == nil
	case *ast.IfStmt:
		return s.Init == nil && o.callsNothing(s.Cond) && o.statement(s.Body) && o.statement(s.Else)
	case *ast.IncDecStmt:
		o.changes = true
		return o.isInteger(s.X) && o.callsNothing(s.X)
	case *ast.AssignStmt:
		o.changes = true
		return len(s.Lhs) == 1 && len(s.Rhs) == 1 && o.assignment(s.Lhs[0], s.Tok, s.Rhs[0])
	case *ast.ExprStmt:
		o.changes = true
		call, ok := s.X.(*ast.CallExpr)
		return ok && isBuiltin(o.info, call, "delete") && o.callsNothing(call.Args[0]) && o.isLoopKey(call.Args[1])
	case *ast.ReturnStmt:
		return o.returnsOneConstant(s)
	}
	return false
}

func (o *loopBody) assignment(lhs ast.Expr, tok token.Token, rhs ast.Expr) bool {
	if !o.callsNothing(lhs) || !o.callsNothing(rhs) {
		return false
	}
	switch tok {
	case token.ADD_ASSIGN, token.SUB_ASSIGN, token.OR_ASSIGN, token.AND_ASSIGN, token.XOR_ASSIGN:
		return o.isInteger(lhs)
	case token.ASSIGN:
	default:
		return false
	}
	if index, ok := lhs.(*ast.IndexExpr); ok { // other[k] = v
		return isMap(o.info.TypeOf(index.X)) && o.isLoopKey(index.Index)
	}
	call, ok := rhs.(*ast.CallExpr) // s = append(s, …)
	if !ok || !isBuiltin(o.info, call, "append") {
		return false
	}
	name := types.ExprString(lhs)
	if types.ExprString(call.Args[0]) != name || o.collected != "" && o.collected != name {
		return false
	}
	o.collected = name
	return true
}

func (o *loopBody) returnsOneConstant(s *ast.ReturnStmt) bool {
	text := "return"
	for _, e := range s.Results {
		tv := o.info.Types[e]
		if tv.Value == nil && !tv.IsNil() {
			return false
		}
		text += " " + types.ExprString(e)
	}
	if o.returned != "" && o.returned != text {
		return false
	}
	o.returned = text
	return true
}

func (o *loopBody) isLoopKey(e ast.Expr) bool {
	id := rootIdent(e)
	return o.key != nil && id != nil && o.info.ObjectOf(id) == o.info.ObjectOf(o.key)
}

func (o *loopBody) isInteger(e ast.Expr) bool {
	b, ok := o.info.TypeOf(e).Underlying().(*types.Basic)
	return ok && b.Info()&types.IsInteger != 0
}

// callsNothing reports whether e runs no code of the program but its own operators.
func (o *loopBody) callsNothing(e ast.Expr) bool {
	quiet := true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			isConversion := o.info.Types[n.Fun].IsType()
			pure := isBuiltin(o.info, n, "len") || isBuiltin(o.info, n, "cap") || isBuiltin(o.info, n, "append") ||
				isBuiltin(o.info, n, "min") || isBuiltin(o.info, n, "max")
			quiet = quiet && (isConversion || pure)
		case *ast.FuncLit:
			quiet = false
		case *ast.UnaryExpr:
			quiet = quiet && n.Op != token.ARROW
		}
		return quiet
	})
	return quiet
}

// sortsFirst reports whether s is a call that sorts the slice named.
func sortsFirst(info *types.Info, s ast.Stmt, slice string) bool {
	x, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := x.X.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 || types.ExprString(call.Args[0]) != slice {
		return false
	}
	switch calleeName(info, call) {
	case "slices.Sort", "slices.SortFunc", "sort.Strings", "sort.Ints", "sort.Slice":
		return true
	}
	return false
}
