package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"godwit/engine/key"
	"godwit/engine/mutant"
)

// A *table* is a run of records as the engine keeps them in files: of Pebble a sorted table with compressed blocks, of the engine in memory
// the records one after another. A store builds tables of a span in memory, another stages their blocks in files, in any order, and
// takes all tables in at once.

// TableSum identifies the bytes of a table.
type TableSum struct {
	Bytes int64
	Hash  [16]byte // XXH3-128
}

// SumTable is the sum of a table.
func SumTable(b []byte) TableSum { return TableSum{int64(len(b)), xxh3.Hash128(b).Bytes()} }

// BlockSum is the checksum of a block of a table.
func BlockSum(b []byte) uint64 { return xxh3.Hash(b) }

// Table is a table of the records of Covers. Give it back by Store.Reuse when nobody needs its bytes any more.
type Table struct {
	Bytes  []byte
	Read   int      // bytes of keys and values in it: Bytes is compressed
	Covers key.Span // as of a Chunk
	Digest Digest
	Last   bool
}

// BuildTable builds a table of records from the low end of a span, until it holds about so many bytes of keys and values. A span without
// records gives a table without bytes.
func (s *Store) BuildTable(r Reader, span key.Span, size int) (Table, error) {
	c, err := AppendChunk(s.room.Get(), r, span, ChunkLimits{Bytes: size, Records: 1 << 30}, WithRecords|WithDigest)
	defer s.room.Put(c.Records)
	if err != nil || len(c.Records) == 0 {
		return Table{Covers: c.Covers, Last: c.Last}, err
	}
	b, err := s.kv.buildTable(s.room.Get(), c.Records)
	if err != nil {
		return Table{}, fmt.Errorf("store: build table: %w", err)
	}
	return Table{Bytes: b, Read: c.Bytes, Covers: c.Covers, Digest: c.Digest, Last: c.Last}, nil
}

// Reuse takes the memory of a table that BuildTable has made.
func (s *Store) Reuse(t Table) { s.room.Put(t.Bytes) }

// stagingDir is the directory within the store's in which blocks are staged. What a process leaves there is deleted by the next one.
const stagingDir = "tables-in"

// ErrBlock says that a block of a table is not what its checksum says, or lies where no table can have it.
var ErrBlock = errors.New("store: a block of a table is damaged")

// maxStagedTable bounds a table, and maxStagedTables their number in one staging.
const (
	maxStagedTable  = 64 << 20
	maxStagedTables = 1 << 20
)

// Staging is the tables of one span on their way in, in files that nobody else uses. It is used by one goroutine at a time. End it with
// Ingest or Drop.
type Staging struct {
	s      *Store
	prefix string
	tables map[uint32]*stagedTable
}

// stagedTable is a table of which some blocks are there.
type stagedTable struct {
	path   string
	file   vfs.File
	blocks map[int64]int // their lengths, by offset
}

// Stage begins to stage tables under a name that no other staging has.
func (s *Store) Stage(name string) (*Staging, error) {
	dir := s.fs.PathJoin(s.dir, stagingDir)
	if err := s.fs.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: stage: %w", err)
	}
	return &Staging{s: s, prefix: s.fs.PathJoin(dir, name), tables: map[uint32]*stagedTable{}}, nil
}

// Put writes a block. One that is there already is written again. It need not survive a crash: Ingest looks what is there.
func (g *Staging) Put(table uint32, offset int64, sum uint64, block []byte) error {
	if sum != BlockSum(block) && !mutant.On(mutant.BlockUnchecked) {
		return fmt.Errorf("%w: its checksum does not match", ErrBlock)
	}
	if table >= maxStagedTables || offset < 0 || offset > maxStagedTable-int64(len(block)) {
		return fmt.Errorf("%w: table %d, %d bytes at %d", ErrBlock, table, len(block), offset)
	}
	t := g.tables[table]
	if t == nil {
		t = &stagedTable{path: fmt.Sprintf("%s-%d.sst", g.prefix, table), blocks: map[int64]int{}}
		var err error
		if t.file, err = g.s.fs.Create(t.path, vfs.WriteCategoryUnspecified); err != nil {
			return fmt.Errorf("store: stage: %w", err)
		}
		g.tables[table] = t
	}
	if _, err := t.file.WriteAt(block, offset); err != nil {
		return fmt.Errorf("store: stage: %w", err)
	}
	t.blocks[offset] = len(block)
	return nil
}

// has reports whether the blocks make a table of so many bytes.
func (t *stagedTable) has(size int64) bool {
	at := int64(0)
	for at < size {
		n := t.blocks[at]
		if n == 0 {
			return false
		}
		at += int64(n)
	}
	return at == size
}

// Ingest takes tables in, all at once, if all of them are there and are what their sums say, and reports whether it did; otherwise nothing
// changes. They must hold records of a span that is empty in the store. What was ingested is visible, and durable once a position that
// comes after is. The staging has ended.
func (g *Staging) Ingest(span key.Span, sums []TableSum) (bool, error) {
	defer g.Drop()
	var paths []string
	for i, sum := range sums {
		t := g.tables[uint32(i)]
		if t == nil || !t.has(sum.Bytes) {
			if mutant.On(mutant.TableEarly) {
				continue
			}
			return false, nil
		}
		if ok, err := g.complete(t, sum); err != nil || !ok {
			return false, err
		}
		paths = append(paths, t.path)
	}
	if err := syncDir(g.s.fs, g.s.fs.PathDir(g.prefix)); err != nil {
		return false, fmt.Errorf("store: stage: %w", err)
	}
	if len(paths) == 0 {
		return mutant.On(mutant.TableEarly), nil
	}
	if err := g.s.ingest(paths, span); err != nil {
		return false, err
	}
	return true, nil
}

// ingest takes tables of a span in.
func (s *Store) ingest(paths []string, span key.Span) error {
	if s.names != nil {
		s.names.ingesting(span)
	}
	s.settle()
	b, err := s.kv.ingest(paths)
	if s.names != nil {
		s.names.committed()
	}
	if err != nil {
		return fmt.Errorf("store: ingest: %w", err)
	}
	s.trackers.ingested(span)
	if b != nil {
		s.Commit(b)
	}
	if s.rows != nil {
		s.rows.dropSpan(span)
	}
	return nil
}

// complete makes a staged table durable and reports whether it is what its sum says: what was read back is what is ingested.
func (g *Staging) complete(t *stagedTable, sum TableSum) (bool, error) {
	err := t.file.Sync()
	if err = errors.Join(err, t.file.Close()); err != nil {
		return false, fmt.Errorf("store: stage: %w", err)
	}
	t.file = nil
	b, err := readFile(g.s.fs, t.path)
	if err != nil {
		return false, fmt.Errorf("store: stage: %w", err)
	}
	return SumTable(b) == sum, nil
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

// Drop deletes what is staged, as far as it can: what is left goes with the next start.
func (g *Staging) Drop() {
	rest := make([]uint32, 0, len(g.tables))
	for i := range g.tables { //det:ok sorted below
		rest = append(rest, i)
	}
	slices.Sort(rest)
	for _, i := range rest {
		g.drop(i)
	}
}

func (g *Staging) drop(i uint32) {
	t := g.tables[i]
	if t == nil {
		return
	}
	delete(g.tables, i)
	if t.file != nil {
		_ = t.file.Close() // it is deleted
	}
	_ = g.s.fs.Remove(t.path) // ingested, or left to the next start
}

// dropStaged deletes what an earlier process has staged.
func dropStaged(fs vfs.FS, dir string) error {
	path := fs.PathJoin(dir, stagingDir)
	if _, err := fs.Stat(path); oserror.IsNotExist(err) {
		return nil
	}
	return fs.RemoveAll(path)
}

// Arrival is a table of records in a file that nobody else uses, durable but not part of the store yet. End it with Ingest or Drop.
type Arrival struct {
	s    *Store
	path string
	span key.Span // from the first record to behind the last
}

// Arrive makes a table of records, which are in the encoding of Chunk.Records and come in the order of their keys, under a name that no other
// has. ok is false, and nothing was done, if they do not.
func (s *Store) Arrive(name string, records []byte) (a *Arrival, ok bool, err error) {
	a = &Arrival{s: s}
	for rest := records; len(rest) > 0; {
		k, _, next, err := NextRecord(rest)
		if err != nil {
			return nil, false, err
		}
		if bytes.Compare(a.span.Hi, k) >= 0 {
			return nil, false, nil
		}
		if a.span.Lo == nil {
			a.span.Lo = k
		}
		a.span.Hi, rest = k, next
	}
	if a.span.Lo == nil {
		return nil, false, nil
	}
	a.span = key.Span{Lo: bytes.Clone(a.span.Lo), Hi: append(bytes.Clone(a.span.Hi), 0)}
	table, err := s.kv.buildTable(s.room.Get(), records)
	if err != nil {
		return nil, false, fmt.Errorf("store: build table: %w", err)
	}
	defer s.room.Put(table)
	dir := s.fs.PathJoin(s.dir, stagingDir)
	if err := s.fs.MkdirAll(dir, 0o755); err != nil {
		return nil, false, fmt.Errorf("store: stage: %w", err)
	}
	a.path = s.fs.PathJoin(dir, name+".sst")
	if err := writeTable(s.fs, a.path, table); err != nil {
		a.Drop()
		return nil, false, fmt.Errorf("store: stage: %w", err)
	}
	return a, true, nil
}

// Ingest takes the table in. It is visible then and over whatever the store has of its keys, and durable once a position that comes after is.
func (a *Arrival) Ingest() error {
	defer a.Drop()
	return a.s.ingest([]string{a.path}, a.span)
}

// Drop deletes the table, unless it has ended, as far as it can: what is left goes with the next start.
func (a *Arrival) Drop() {
	if a.path != "" {
		_ = a.s.fs.Remove(a.path)
		a.path = ""
	}
}

// writeTable writes a file and makes it durable, its name aside.
func writeTable(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// recordTable reads the table of the engine in memory into a batch.
func recordTable(b *Batch, raw []byte) error {
	for len(raw) > 0 {
		k, v, rest, err := NextRecord(raw)
		if err != nil {
			return err
		}
		b.Set(k, v)
		raw = rest
	}
	return nil
}

// memoryObject is a file in memory.
type memoryObject []byte

// Write implements objstorage.Writable.
func (m *memoryObject) Write(p []byte) error {
	*m = append(*m, p...)
	return nil
}

// Finish implements objstorage.Writable.
func (*memoryObject) Finish() error { return nil }

// Abort implements objstorage.Writable.
func (*memoryObject) Abort() {}
