package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func serverFlags() (*serverOptions, *pflag.FlagSet) {
	o := &serverOptions{}
	f := pflag.NewFlagSet("server", pflag.ContinueOnError)
	o.addFlags(f)
	return o, f
}

func TestConfigFile(t *testing.T) {
	o, f := serverFlags()
	if err := f.Parse([]string{"--sync", "never"}); err != nil {
		t.Fatal(err)
	}
	err := applyConfig(f, "# a comment\n\nlisten 127.0.0.1:7000 # another\r\nDir \"my \\x64ata\"\ncluster yes\n"+
		"sync interval\nrequirepass 'it\\'s #1'\ncache 1gb\nmaxclients 5\nlog-format json\n")
	if err != nil {
		t.Fatal(err)
	}
	if o.listen != "127.0.0.1:7000" || o.dir != "my data" || !o.cluster || o.requirepass != "it's #1" ||
		o.cache != 1<<30 || o.maxClients != 5 || o.logFormat != "json" {
		t.Errorf("the file was read as %+v", o)
	}
	if o.sync != "never" {
		t.Errorf("sync is %s: the flag must override the file", o.sync)
	}
}

func TestConfigFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"lisen 127.0.0.1:1":         `1: the key "lisen" is unknown: did you mean "listen"?`,
		"\nrequirepas x":            `2: the key "requirepas" is unknown: did you mean "requirepass"?`,
		"max-client 5":              `1: the key "max-client" is unknown: did you mean "maxclients"?`,
		"config other":              `1: the key "config" is unknown: did you mean `,
		"maxclients many":           `1: maxclients: "many" is no number of them: want a whole number from 1 on`,
		"\nmaxclients 0":            `2: maxclients: "0" is no number of them`,
		"#\n\nsync sometimes":       `3: sync: "sometimes" is unknown: use always, interval or never`,
		"log-level loud":            `1: log-level: "loud" is unknown: use debug, info, warn or error`,
		"max-bulk 1":                `1: max-bulk: 1 is out of bounds: want 1kb to 2gb`,
		"cache 5 gb":                `1: cache has 2 values: want one, in quotes if it holds spaces`,
		"dir":                       `1: dir has 0 values`,
		"cluster maybe":             `1: cluster is "maybe": want yes or no`,
		"cache lots":                `1: cache: "lots" is no size: want a number of bytes, or one with k, kb, m, mb, g or gb`,
		"dir a\ndir b":              `2: dir was given before, in line 1`,
		"dir \"a":                   `1: a quote is not closed`,
		"dir 'a'b":                  `1: a closing quote is not followed by a space`,
		"cache 99999999999999999gb": `is no size`,
		"cache -1":                  `is no size`,
		"memtable 1.5gb":            `is no size`,
	} {
		_, f := serverFlags()
		if err := applyConfig(f, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--sync", "sometimes"}, `"sometimes" is unknown: use always, interval or never`},
		{[]string{"--log-level", "loud"}, `"loud" is unknown: use debug, info, warn or error`},
		{[]string{"--log-format", "xml"}, `"xml" is unknown: use text or json`},
		{[]string{"--listen", "6666"}, `listen address "6666" is wrong: want HOST:PORT`},
		{[]string{"--announce", "me"}, `announced address "me" is wrong`},
		{[]string{"--maxclients", "0"}, `"0" is no number of them: want a whole number from 1 on`},
		{[]string{"--cache", "1kb"}, `1kb is out of bounds: want 1mb to`},
		{[]string{"--max-bulk", "1"}, `1 is out of bounds: want 1kb to`},
		{[]string{"--dir", ""}, `data directory is missing`},
		{[]string{"--peer-secret", "a", "--peer-secret-file", empty}, `both given`},
		{[]string{"--peer-secret-file", empty}, `the first line is empty`},
		{[]string{"--peer-secret-file", filepath.Join(dir, "none")}, `peer-secret-file`},
	} {
		o, f := serverFlags()
		err := f.Parse(c.flags)
		if err == nil {
			_, err = o.hostConfig(os.Stderr)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.flags, err, c.want)
		}
	}
}

func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("open sesame\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := serverOptions{peerSecretFile: path}
	if got, err := o.secret(); err != nil || got != "open sesame" {
		t.Errorf("got %q and %v", got, err)
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{"0": 0, "17": 17, "17b": 17, "1k": 1000, "1KB": 1024, "3m": 3e6, "256mb": 256 << 20, "2g": 2e9, "1gb": 1 << 30} {
		var s byteSize
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%s: got %d and %v, want %d", text, int64(s), err, int64(want))
		}
		var again byteSize
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%s is written %s and read back as %d, %v", text, s, int64(again), err)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"listen", "lisen", 1}, {"kitten", "sitting", 3}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
