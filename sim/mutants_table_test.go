package sim

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mutantNames lists the names that package mutant declares.
func mutantNames(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../engine/mutant/mutant.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				if name, err := strconv.Unquote(v.(*ast.BasicLit).Value); err == nil {
					names = append(names, name)
				}
			}
		}
		return true
	})
	return names
}

// TestMutantsComplete demands that every mutant is looked for, here or elsewhere, and none twice.
func TestMutantsComplete(t *testing.T) {
	var listed []string
	for _, m := range Mutants() {
		listed = append(listed, string(m.Name))
		if m.Budget < LeastBudget {
			t.Errorf("%s has a budget of %d seeds, must be at least %d", m.Name, m.Budget, LeastBudget)
		}
	}
	for _, e := range FoundElsewhere() {
		listed = append(listed, string(e.Name))
	}
	want := mutantNames(t)
	slices.Sort(want)
	slices.Sort(listed)
	if len(want) < 40 || !slices.Equal(want, listed) {
		t.Errorf("looked for: %q\ndeclared: %q", listed, want)
	}
}

// TestMutantsTable demands that the table of the README is of these mutants and budgets, and that each was found in each search.
// `make mutants-table` writes it anew.
func TestMutantsTable(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(raw)) {
		if cells := strings.Split(line, " | "); len(cells) == 7 {
			rows[strings.TrimPrefix(cells[0], "| ")] = cells
		}
	}
	for _, m := range Mutants() {
		row := rows[string(m.Name)]
		if row == nil {
			t.Errorf("the table has no row for %s", m.Name)
			continue
		}
		found, searches, _ := strings.Cut(row[1], " of ")
		median, err := strconv.Atoi(row[3])
		if budget := strconv.Itoa(m.Budget); row[5] != budget || found != searches || searches != "20" || err != nil {
			t.Errorf("the table says of %s: %q, want found in all of 20 searches and a budget of %s", m.Name, row, budget)
		}
		if m.Budget < BudgetFactor/2*median {
			t.Errorf("%s has a budget of %d seeds and a median of %d: want %d times as many", m.Name, m.Budget, median, BudgetFactor)
		}
	}
}
