// Package clients holds no code of the server: its tests run client libraries that applications use against real
// godwit processes, and write the table of the README that says what works.
//
// Each client is asked the same named scenarios (scenarios_test.go), on one node and on a cluster whose slots move
// meanwhile. go-redis runs in the test itself; the others are programs in folders beside it, which are told where the
// servers are and print a line for each scenario. README.md describes that protocol and how to add a client.
package clients
