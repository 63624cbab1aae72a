package linearize

import (
	"slices"
	"testing"
)

// TestLanes: a client goes on below an operation that is still under way or open, also where its return was lowered.
func TestLanes(t *testing.T) {
	var ins []*input
	for _, op := range []Operation{
		{Client: 7, Call: 0, Return: 5, Outcome: Ok},
		{Client: 3, Call: 1, Return: 9, Outcome: Ok},
		{Client: 7, Call: 6, Return: 8, Outcome: Unknown}, // open, seen at 8
		{Client: 7, Call: 10, Return: 20, Outcome: Ok},
		{Client: 7, Call: 15, Return: 16, Outcome: Ok}, // pipelined
		{Client: 3, Call: 9, Return: 10, Outcome: Ok},  // touches the one before
		{Client: 7, Call: 21, Return: 22, Outcome: Ok},
	} {
		ins = append(ins, &input{op: &op})
	}
	if got, want := lanesOf(ins), []int{0, 1, 0, 2, 3, 4, 2}; !slices.Equal(got, want) {
		t.Errorf("lanes %v, want %v", got, want)
	}
}
