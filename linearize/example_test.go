package linearize_test

import (
	"fmt"

	"godwit/linearize"
)

// A history is recorded while clients run, and judged afterwards.
func Example() {
	r := linearize.NewRecorder(1_700_000_000_000)
	send := func(client int, call, ret int64, wire string, argv ...string) {
		op, err := linearize.Command(argv...)
		if err != nil {
			fmt.Println(err)
			return
		}
		op.Client, op.Call = client, call
		id, err := r.Begin(op) // before the first byte is sent
		if err != nil {
			fmt.Println(err)
			return
		}
		reply, err := linearize.ParseReply([]byte(wire))
		if err == nil {
			err = r.End(id, reply, ret) // after the last byte has arrived
		} else {
			err = r.Unknown(id) // a timeout, a lost connection
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	send(0, 0, 1e6, "+OK\r\n", "SET", "city", "Delft")
	send(0, 2e6, 3e6, "+OK\r\n", "SET", "city", "Rotterdam")
	send(1, 4e6, 5e6, "$5\r\nDelft\r\n", "GET", "city")
	send(1, 6e6, 7e6, "", "DEL", "city")

	v, err := linearize.Check(r.History(), linearize.Options{Steps: 10_000_000})
	fmt.Println(v.OK(), err)
	fmt.Println(v)
	// Output:
	// false <nil>
	// illegal: 4 operations on 1 keys, 1 of them open, 0 left out
	// key "city": illegal: 4 operations, 1 open
	//   no order explains: GET "city" → "Delft" (client 1, 4ms to 5ms)
	//   best order has 2 of the 3 operations until then, and leaves the key "Rotterdam"
}
