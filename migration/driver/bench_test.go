package driver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/host"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/migration"
	"godwit/migration/driver"
)

// benchNode is a node of this process, on a disk and a port of its own, so that one profile shows both ends of a move.
type benchNode struct {
	b   *testing.B
	srv *host.Server
	id  string
	nc  net.Conn
	in  *bufio.Reader

	mu     sync.Mutex
	copied time.Time // when the last slot had been copied

	ended chan slot.Slot
}

func startBenchNode(b *testing.B, name string) *benchNode {
	b.Helper()
	n := &benchNode{b: b, ended: make(chan slot.Slot, slot.Count)}
	newMigrator, err := driver.New(driver.Config{OnStep: func(sl slot.Slot, step string, carriedOut bool) {
		switch {
		case carriedOut:
		case step == migration.RoundVerify.String():
			n.mu.Lock()
			n.copied = time.Now()
			n.mu.Unlock()
		case step == migration.StepDone.String() || step == migration.StepFailed.String():
			n.ended <- sl
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	n.srv, err = host.Start(host.Config{
		Listen: "127.0.0.1:0", Dir: b.TempDir(), Sync: engine.SyncNever, Cluster: true, NewMigrator: newMigrator, Fatal: func(err error) { panic(err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.srv.Shutdown(ctx); err != nil {
			b.Error(err)
		}
	})
	if n.nc, err = net.Dial("tcp", n.srv.Addr().String()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.nc.Close() })
	n.in = bufio.NewReaderSize(n.nc, 1<<20)
	n.id = strings.Repeat(name, cluster.NodeIDLen)
	n.do("CLUSTERX", "SETNODEID", n.id)
	return n
}

// do runs a command and returns its reply, which must not be an error.
func (n *benchNode) do(args ...string) string {
	n.b.Helper()
	if _, err := n.nc.Write(encode(nil, args...)); err != nil {
		n.b.Fatal(err)
	}
	var got []byte
	for {
		line, err := n.in.ReadBytes('\n')
		if err != nil {
			n.b.Fatal(err)
		}
		got = append(got, line...)
		v, _, err := resp.ParseReply(got)
		switch {
		case errors.Is(err, resp.ErrIncomplete):
		case err != nil:
			n.b.Fatal(err)
		case v.Kind == resp.ErrorKind:
			n.b.Fatalf("%q: %s", args, v.Str)
		case v.Kind == resp.IntKind:
			return strconv.FormatInt(v.Int, 10)
		default:
			return v.Str
		}
	}
}

func encode(dst []byte, args ...string) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(args))
	for _, a := range args {
		dst = append(strconv.AppendInt(append(dst, '$'), int64(len(a)), 10), "\r\n"...)
		dst = append(append(dst, a...), "\r\n"...)
	}
	return dst
}

// fill writes keys of values of 128 bytes and returns how many bytes of keys and values they are.
func (n *benchNode) fill(tags []string, keys int) (total int64) {
	n.b.Helper()
	value := strings.Repeat("x", 128)
	for _, tag := range tags {
		for at := 0; at < keys; {
			var out []byte
			first := at
			for ; at < keys && at < first+1000; at++ {
				k := fmt.Sprintf("{%s}%08d", tag, at)
				out = encode(out, "SET", k, value)
				total += int64(len(k) + len(value))
			}
			if _, err := n.nc.Write(out); err != nil {
				n.b.Fatal(err)
			}
			for range at - first {
				if line, err := n.in.ReadString('\n'); err != nil || line != "+OK\r\n" {
					n.b.Fatalf("SET: %q, %v", line, err)
				}
			}
		}
	}
	return total
}

// pair starts two nodes of one cluster, of which the first has all slots.
func pair(b *testing.B) [2]*benchNode {
	b.Helper()
	nodes := [2]*benchNode{startBenchNode(b, "a"), startBenchNode(b, "b")}
	var text string
	for i, n := range nodes {
		_, port, err := net.SplitHostPort(n.srv.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		text += fmt.Sprintf("%s 127.0.0.1 %s master - %s\n", n.id, port, []string{"0-16383", ""}[i])
	}
	for _, n := range nodes {
		n.do("CLUSTERX", "SETNODES", text, "1")
	}
	return nodes
}

// tagsOf finds a hash tag for each of the first n slots.
func tagsOf(n int) []string {
	tags, missing := make([]string, n), n
	for i := 0; missing > 0; i++ {
		tag := "t" + strconv.Itoa(i)
		if s := int(slot.OfKey([]byte("{" + tag + "}"))); s < n && tags[s] == "" {
			tags[s] = tag
			missing--
		}
	}
	return tags
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it fails for wrong arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchMove moves slots there and back between two nodes over loopback, one way an iteration.
func benchMove(b *testing.B, slots, keys int, payload string) {
	nodes := pair(b)
	size := nodes[0].fill(tagsOf(slots), keys)
	var copying, moving, spent time.Duration
	var pauses []float64
	for i := 0; b.Loop(); i++ {
		from, to := nodes[i%2], nodes[(i+1)%2]
		before, began := processorTime(), time.Now()
		job := from.do("GODWIT", "MIGRATION", "START", fmt.Sprintf("0-%d", slots-1), to.id, "PAYLOAD", payload)
		for range slots {
			<-from.ended
		}
		moving += time.Since(began)
		spent += processorTime() - before
		from.mu.Lock()
		copying += from.copied.Sub(began)
		from.mu.Unlock()
		var report engine.JobReport
		if err := json.Unmarshal([]byte(from.do("GODWIT", "MIGRATION", "STATUS", job)), &report); err != nil || report.MovedSlots != slots || report.DigestsEqual != slots {
			b.Fatalf("%+v, %v", report, err)
		}
		pauses = append(pauses, report.PausesMs...)
	}
	slices.Sort(pauses)
	b.ReportMetric(pauses[len(pauses)*99/100], "ms-pause-p99")
	rate := func(d time.Duration) float64 { return float64(size) * float64(b.N) / 1e6 / d.Seconds() }
	b.ReportMetric(rate(copying), "copy-MB/s")
	b.ReportMetric(rate(moving), "MB/s")
	b.ReportMetric(rate(spent), "MB/cpu-s")
	b.ReportMetric(moving.Seconds()*1000/float64(b.N)/float64(slots), "ms/slot")
}

// BenchmarkMoveOneSlot moves a slot of 1,000,000 keys with values of 128 bytes.
func BenchmarkMoveOneSlot(b *testing.B) {
	for _, payload := range []engine.Payload{engine.PayloadRaw, engine.PayloadTables} {
		b.Run(string(payload), func(b *testing.B) { benchMove(b, 1, 1_000_000, string(payload)) })
	}
}

// BenchmarkMoveManySlots moves 1,024 slots of 400 keys with values of 128 bytes.
func BenchmarkMoveManySlots(b *testing.B) { benchMove(b, 1024, 400, string(engine.PayloadRaw)) }
