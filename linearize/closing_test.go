package linearize

import "testing"

func TestCloseObserved(t *testing.T) {
	write := func(cmd, value string, call int64) Operation {
		return Operation{Key: "k", Cmd: cmd, Args: []string{value}, Call: call, Return: Open}
	}
	read := func(value string, call, ret int64) Operation {
		return Operation{Key: "k", Cmd: "GET", Call: call, Return: ret, Outcome: Ok, Reply: Bulk(value)}
	}
	incr := Operation{Key: "k", Cmd: "INCR", Call: 0, Return: Open}
	for _, c := range []struct {
		name string
		ops  []Operation // the first is the write in question
		want int64
		// others is the number of further writes that are closed.
		others int
	}{
		{"seen", []Operation{write("SET", "a", 0), read("a", 5, 10)}, 10, 0},
		{"seen twice, the earlier counts", []Operation{write("SET", "a", 0), read("a", 5, 20), read("a", 5, 10)}, 10, 0},
		{"seen twice, the earlier first", []Operation{write("SET", "a", 0), read("a", 5, 10), read("a", 5, 20)}, 10, 0},
		{"not seen", []Operation{write("SET", "a", 0), read("b", 5, 10)}, Open, 0},
		{"the value is not unique", []Operation{write("SET", "a", 0), write("SET", "a", 1), read("a", 5, 10)}, Open, 0},
		{"seen before it was called", []Operation{write("SET", "a", 20), read("a", 5, 10)}, Open, 0},
		{"a counter could have made the value", []Operation{write("SET", "1", 0), incr, read("1", 5, 10)}, Open, 0},
		{"an append could have made the value", []Operation{write("SET", "ab", 0), write("APPEND", "a", 0),
			write("APPEND", "b", 0), read("ab", 5, 10)}, Open, 0},
		{"framed", []Operation{write("APPEND", "a;", 0), write("SET", "b;", 0), read("b;a;", 5, 10)}, 10, 1},
		{"one frame is missing", []Operation{write("APPEND", "a;", 0), write("SET", "b", 0), read("ba;", 5, 10)}, Open, 0},
		{"a frame inside another", []Operation{write("APPEND", "a;", 0), write("SET", "ba;", 0), read("ba;", 5, 10)}, Open, 1},
		{"one piece of several is its own", []Operation{write("APPEND", "a;b;", 0), write("SET", "b;", 0), read("a;b;", 5, 10)}, 10, 0},
		{"only the common piece was seen", []Operation{write("APPEND", "a;b;", 0), write("SET", "b;", 0), read("b;", 5, 10)}, Open, 0},
	} {
		var ins []*input
		for _, op := range c.ops {
			in := &input{}
			if err := in.parse(&op); err != nil {
				t.Fatal(err)
			}
			ins = append(ins, in)
		}
		out := closeObserved(ins)
		if got := out[0].op.Return; got != c.want {
			t.Errorf("%s: return %d, want %d", c.name, got, c.want)
		}
		if ins[0].op.Return != Open {
			t.Errorf("%s: the original was changed", c.name)
		}
		others := 0
		for i := 1; i < len(out); i++ {
			if out[i] != ins[i] {
				others++
			}
			if c.ops[i].Outcome == Ok && out[i] != ins[i] {
				t.Errorf("%s: operation %d, whose outcome is known, was changed", c.name, i)
			}
		}
		if others != c.others {
			t.Errorf("%s: %d other writes closed, want %d", c.name, others, c.others)
		}
	}
}
