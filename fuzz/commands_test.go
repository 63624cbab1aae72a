package fuzz

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/redcon"

	"godwit/engine/data"
	"godwit/engine/slot"
)

// array writes a command as clients send it.
func array(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// FuzzCommands executes whatever the parser makes of the input on one connection from this machine.
func FuzzCommands(f *testing.F) {
	k, other, far := userKey(1), userKey(2), userKey(70)
	for _, script := range []string{
		"PING\nECHO x\nTIME\nDBSIZE\nRANDOMKEY\nSELECT 0\nSELECT 1\nCOMMAND COUNT\nINFO\nINFO all\nRESET",
		"SET <k> v EX 100 NX GET\nGET <k>\nGETEX <k> PERSIST\nAPPEND <k> x\nSTRLEN <k>\nGETRANGE <k> 0 -1\nSETRANGE <k> 5 y\nINCR <k>\nINCRBYFLOAT <k> 1.5",
		"MSET <k> 1 <k> 2\nMGET <k> <far>\nMSETNX <k> 1\nDEL <k> <other>\nUNLINK <k>\nEXISTS <k> <k>\nTYPE <k>\nTOUCH <k>\nRENAME <k> <k>\nCOPY <k> <other>",
		"EXPIRE <k> 10 GT\nPEXPIREAT <k> 1\nTTL <k>\nPEXPIRETIME <k>\nPERSIST <k>\nEXPIRE <k> -1\nGET <k>\nEXPIREAT <k> 99999999999999999",
		"SCAN 0 MATCH * COUNT 3 TYPE string\nKEYS [a-z]*\nFLUSHALL\nFLUSHDB ASYNC\nSCAN 18446744073709551615",
		"HELLO 3\nGET <k>\nHELLO 2 SETNAME x\nHELLO 9\nAUTH a b\nCLIENT ID\nCLIENT LIST\nCLIENT INFO\nCLIENT SETNAME a\nCLIENT GETNAME\nCLIENT KILL ID 1",
		"CLUSTER INFO\nCLUSTER NODES\nCLUSTER SLOTS\nCLUSTER SHARDS\nCLUSTER KEYSLOT x\nCLUSTER COUNTKEYSINSLOT 1\nCLUSTER GETKEYSINSLOT 1 5\nCLUSTER MYID\nCLUSTER RESET HARD",
		"GET <far>\nASKING\nGET <far>\nREADONLY\nGET <far>\nREADWRITE\nMGET <k> <other>",
		"CLUSTERX VERSION\nCLUSTERX MYID\nCLUSTERX SETNODEID <a>\nCLUSTERX SETSLOT 3 NODE <b> 2\nCLUSTERX MIGRATE 1 <b>\nCLUSTERX MIGRATE 2 <b> sync\nCLUSTERX MIGRATE 99999 <b>",
		"CLUSTERX SETNODES x 9\nCLUSTERX SETNODES \"<a> 127.0.0.1 7000 master - 0-127\" 9 FORCE\nGET <far>",
		"GODWIT STATUS\nGODWIT OWNERS 0-3\nGODWIT MIGRATION START 1-3 <b>\nGODWIT MIGRATION STATUS\nGODWIT MIGRATION STATUS 1\nGODWIT MIGRATION CANCEL 1\nSET <k> moved\nGET <k>",
		"CONFIG GET *\nCONFIG SET maxclients 1\nCONFIG RESETSTAT\nCOMMAND DOCS get\nCOMMAND INFO get nothing\nCOMMAND GETKEYS mset a b c",
		"PEER HELLO 2 \"\" <b> 1 <a> 1 0\nPEER OWNER 0-16383\nPEER ANNOUNCE 1 9\nGET <k>\nPEER MIGRATION x\nPEER NOTHING",
		"QUIT\nGET <k>",
	} {
		script = strings.NewReplacer("<k>", k, "<other>", other, "<far>", far, "<a>", string(id(0)), "<b>", string(id(1))).Replace(script)
		var all strings.Builder
		for line := range strings.Lines(script) {
			var args []string
			for i, part := range strings.Split(strings.TrimSpace(line), `"`) {
				if i%2 == 1 {
					args = append(args, part)
				} else {
					args = append(args, strings.Fields(part)...)
				}
			}
			all.WriteString(array(args...))
		}
		f.Add([]byte(all.String()))
	}
	f.Add([]byte("GET " + k + "\r\nSET a b\r\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		w := newNodes(t)
		defer w.close()
		c := w.connect(w.list[0])
		executed, quit := 0, false
		for rest := input; len(rest) > 0 && executed < 100; {
			complete, args, _, next, err := redcon.ReadNextCommand(rest, nil)
			if err != nil || !complete {
				break
			}
			rest = next
			if len(args) == 0 {
				continue
			}
			c.s.Execute(args)
			executed++
			if len(rest)%2 == 0 { // pipelines of different lengths
				c.s.Flush()
			}
			if quit = c.s.Closing(); quit {
				break
			}
		}
		c.s.Flush()
		// Whoever waits for a job waits for as long as it takes.
		for i := 0; i < 100 && len(c.replies()) < executed; i++ {
			w.quiet(time.Minute)
		}
		got := c.replies()
		pushes := 0
		for _, v := range got {
			if v.Kind == '>' {
				pushes++
			}
		}
		if len(got)-pushes != executed && !c.s.Closing() {
			t.Errorf("%d commands have %d replies: %v", executed, len(got), got)
		}
		c.s.Close()
		for _, n := range w.list {
			for _, s := range []slot.Slot{1, 2, 65, 70} {
				if err := data.CheckSlot(n.Store(), s); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
