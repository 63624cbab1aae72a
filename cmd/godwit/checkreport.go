package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"godwit/linearize"
)

// checkShown is how many lines of a verdict are printed; the picture and the history have the rest.
const checkShown = 20

// checkReport is the outcome of a check, and what --json prints.
type checkReport struct {
	Verdict     string `json:"verdict"` // ok, illegal, unknown
	VerdictText string `json:"verdict_text"`
	// Reason says why an unknown verdict is unknown, or why one that is ok proves too little.
	Reason string `json:"reason"`

	Run     string  `json:"run"`     // part of the names of its keys
	Cluster bool    `json:"cluster"` // false: a single server
	Nodes   int     `json:"nodes"`   // known at the start
	Slots   int     `json:"slots"`   // that had an owner at the start
	Seconds float64 `json:"seconds"` // in which clients ran
	// LeftOut names the kinds of keys that the servers do not know.
	LeftOut []string `json:"left_out"`

	Operations int `json:"operations"`
	Reads      int `json:"reads"`
	Writes     int `json:"writes"`
	Acked      int `json:"acknowledged_writes"`
	Judged     int `json:"judged_operations"`
	Unknown    int `json:"unknown_writes"` // of which nobody knows whether they ran
	Keys       int `json:"keys"`           // names, each judged by itself

	// Errors counts operations that failed for the client, by the code of the error or its kind; ErrorsShown has an example
	// of each. Redirects counts what clients did on the way: redirects followed, and waits.
	Errors      map[string]int    `json:"errors"`
	ErrorsShown map[string]string `json:"errors_shown"`
	Redirects   map[string]int    `json:"redirects"`

	// The longest stall is the longest time in which a key could not be used, in the eyes of its clients.
	LongestStallMs   float64 `json:"longest_stall_ms"`
	LongestStallAtS  float64 `json:"longest_stall_at_s"`
	LongestStallSlot int     `json:"longest_stall_slot"`
	StallNotOver     bool    `json:"longest_stall_not_over"` // the check ended before it

	During      *disturbance `json:"during"` // null if there was none
	Interrupted bool         `json:"interrupted"`
	Full        bool         `json:"full"`      // the history became as long as it may
	Unread      int          `json:"unread"`    // names that could not be read at the end
	KeysLeft    int          `json:"keys_left"` // names that could not be removed
	History     string       `json:"history"`   // files, "" if not written
	Picture     string       `json:"picture"`

	illegal bool
}

// addClients sums up what the clients saw.
func (r *checkReport) addClients(c *checker, clients []*checkClient) {
	r.Errors, r.ErrorsShown, r.Redirects = map[string]int{}, map[string]string{}, map[string]int{}
	for _, k := range clients {
		r.Reads += k.reads
		r.Writes += k.writes
		r.Acked += k.acked
		for kind, n := range k.errs {
			r.Errors[kind] += n
			r.ErrorsShown[kind] = k.shown[kind]
		}
		for code, n := range k.link.hops {
			r.Redirects[code] += n
		}
		if k.err != nil {
			r.Reason = "recording failed: " + k.err.Error()
		}
	}
	r.Operations = r.Reads + r.Writes
	stall := c.keys.longestStall(c.now())
	r.LongestStallMs = float64(stall.end-stall.begin) / float64(time.Millisecond)
	r.LongestStallAtS, r.LongestStallSlot, r.StallNotOver = time.Duration(stall.begin).Seconds(), int(stall.slot), !stall.ended
}

// verdict takes over a verdict, and says what it lacks to be a proof.
func (r *checkReport) verdict(v linearize.Verdict) {
	r.Verdict, r.VerdictText, r.illegal = v.Result.String(), v.String(), v.Result == linearize.Illegal
	r.Judged, r.Unknown, r.Keys = v.Operations, v.Open, v.Keys
	unknown := func(reason string) {
		r.Verdict, r.Reason = linearize.UnknownResult.String(), reason
		r.VerdictText = r.Verdict + ": " + reason
	}
	switch {
	case r.illegal:
	case r.Reason != "":
		unknown(r.Reason)
	case v.Result == linearize.UnknownResult:
		r.Reason = "judging a key cost too much: too many of its writes had no answer"
	case r.Acked == 0:
		unknown("no write was acknowledged, so there is nothing to lose")
	}
}

// status is the error of a verdict that is not ok, or of a command of --during that failed.
func (r *checkReport) status() error {
	switch {
	case r.illegal:
		return &statusError{statusIllegal, errors.New("the history is not linearizable")}
	case r.Verdict != linearize.Linearizable.String():
		return &statusError{statusUnproven, fmt.Errorf("the verdict is unknown: %s", r.Reason)}
	case r.During != nil && r.During.Error != "":
		return &statusError{statusUnproven, fmt.Errorf("the history is linearizable, but the command of --during failed: %s", r.During.Error)}
	}
	return nil
}

func (r *checkReport) print(out io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	if r.Cluster {
		row("cluster", "%d nodes, %s slots with an owner", r.Nodes, countText(r.Slots))
	} else {
		row("server", "not a cluster, %d address(es)", r.Nodes)
	}
	if len(r.LeftOut) > 0 {
		row("left out", "the servers have no keys of kind %s", strings.Join(r.LeftOut, ", "))
	}
	row("operations", "%s in %.1f s: %s reads, %s writes of which %s acknowledged", countText(r.Operations), r.Seconds,
		countText(r.Reads), countText(r.Writes), countText(r.Acked))
	total := 0
	for _, n := range r.Errors {
		total += n
	}
	row("errors", "%s%s", countText(total), countsText(r.Errors))
	for _, kind := range slices.Sorted(maps.Keys(r.ErrorsShown)) {
		row("", "such as: %s", r.ErrorsShown[kind])
	}
	row("tolerated", "%s", strings.TrimPrefix(countsText(r.Redirects), ": "))
	over := ""
	if r.StallNotOver {
		over = ", and not over at the end"
	}
	row("longest stall", "%.1f ms in slot %d, from %.1f s%s", r.LongestStallMs, r.LongestStallSlot, r.LongestStallAtS, over)
	if d := r.During; d != nil {
		how := "ended well"
		switch {
		case d.Cut:
			how = "was cut short"
		case d.Error != "":
			how = "failed: " + d.Error
		}
		row("during", "%s %s after %.1f s", firstLine(d.Command), how, d.Seconds)
	}
	if r.Interrupted {
		row("!", "interrupted: the verdict is about what was seen until then")
	}
	if r.Full {
		row("!", "ended early: the history has got as long as it may, %s operations", countText(checkOps))
	}
	if r.Unread > 0 {
		row("!", "%d of %d keys could not be read back", r.Unread, r.Keys)
	}
	if r.KeysLeft > 0 {
		row("!", "%d keys godwit-check:%s:* could not be removed", r.KeysLeft, r.Run)
	}
	if r.History != "" {
		row("history", "%s", r.History)
	}
	if r.Picture != "" {
		row("picture", "%s", r.Picture)
	}
	row("verdict", "%s: %s operations on %s keys judged, %s writes of unknown outcome", r.Verdict, countText(r.Judged),
		countText(r.Keys), countText(r.Unknown))
	if r.Reason != "" {
		row("", "%s", r.Reason)
	}
	if r.illegal {
		lines := strings.Split(strings.TrimRight(r.VerdictText, "\n"), "\n")
		for _, line := range lines[:min(len(lines), checkShown)] {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if n := len(lines) - checkShown; n > 0 {
			fmt.Fprintf(&b, "    and %d lines more\n", n)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// countsText is ": 3 MOVED, 1 ASK", the most frequent first; "" without any.
func countsText(counts map[string]int) string {
	kinds := slices.Collect(maps.Keys(counts))
	slices.SortFunc(kinds, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	text, between := "", ": "
	for _, kind := range kinds {
		text += fmt.Sprintf("%s%s %s", between, countText(counts[kind]), kind)
		between = ", "
	}
	return text
}

// statusError is an error with the exit status that tells it.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }
