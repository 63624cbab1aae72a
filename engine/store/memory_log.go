package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"
)

// memoryLogFile is the log of the engine in memory. The name's end is that of Pebble's logs, so that faults that concern
// logs concern it.
const memoryLogFile = "memory.log"

// The log, whose integers are little-endian:
//
//	offset  size  field
//	     0     8  "gwmemlog"
//	     8     8  length of the file when it was put in place: all of that was synced before
//	    16     8  xxh3 of the bytes 0 to 15
//	    24        records, one for each batch; the first one, if the file was not put in place empty, holds all there was
//
// A record, that begins at offset at of the file:
//
//	offset  size  field
//	     0     8  xxh3 of all that follows, with at as the seed
//	     8     4  "gwrc"
//	    12     4  length of the batch
//	    16     8  how much of the file was synced when the record was written
//	    24        the batch, in Pebble's encoding (package batchrepr)
//
// Reading ends at the first record that is not whole. What lies behind it was not synced, and is given up, unless the file
// itself says otherwise: a whole record behind that knows the place as synced, or the length in the header. Then something
// else than a loss of power was at work, and the log is not opened. What the checksums do not tell from a lost tail is
// damage of synced records that no later one vouches for, as with Pebble's log.
const (
	logHead      = 24
	recordHead   = 24
	logMagic     = "gwmemlog"
	recordMagic  = "gwrc"
	maxBatchSize = 1 << 30
)

// logLong is how much may be appended to a log before it is replaced by one of what there is.
const logLong = 64 << 10

// memoryLog appends batches to a file. It is guarded by the mutex of its engine.
type memoryLog struct {
	fs     vfs.FS
	dir    string
	path   string
	lock   io.Closer
	folder vfs.File // the directory, to sync it
	file   vfs.File

	end       int64 // where the next record goes
	installed int64 // length of the file when it was put in place
	synced    int64
	room      []byte // what was written last, and the memory for more
}

// leastPiece is how much memory is taken at once at least for what is written. It is kept while a record that stands in it is.
const leastPiece = 4 << 10

// openMemoryLog locks the directory, reads its log into c and replaces it by one that holds c: a record that was given up
// must not be found behind new ones later.
func openMemoryLog(fs vfs.FS, dir string, c *records) (*memoryLog, error) {
	l := &memoryLog{fs: fs, dir: dir, path: fs.PathJoin(dir, memoryLogFile)}
	var err error
	if l.lock, err = fs.Lock(fs.PathJoin(dir, "LOCK")); err != nil {
		return nil, err
	}
	if l.folder, err = fs.OpenDir(dir); err == nil {
		if err = l.read(c); err == nil {
			err = l.replace(c)
		}
	}
	if err != nil {
		l.abandon()
		return nil, err
	}
	return l, nil
}

// read fills c with what the log holds; nothing if there is none.
func (l *memoryLog) read(c *records) error {
	f, err := l.fs.Open(l.path)
	if oserror.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var b []byte
	info, err := f.Stat()
	if err == nil {
		b = make([]byte, info.Size())
		_, err = io.ReadFull(f, b)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return readLog(b, c)
}

// readLog fills c with the batches of a log.
func readLog(b []byte, c *records) error {
	if len(b) < logHead || string(b[:8]) != logMagic || binary.LittleEndian.Uint64(b[16:]) != xxh3.Hash(b[:16]) {
		return fmt.Errorf("%w: it has no header", ErrDamaged)
	}
	installed := binary.LittleEndian.Uint64(b[8:])
	if installed > uint64(len(b)) {
		return fmt.Errorf("%w: it has %d bytes and had %d", ErrDamaged, len(b), installed)
	}
	at := logHead
	for at < len(b) {
		r, ok := parseLogRecord(b, at)
		if !ok {
			break
		}
		const leastBytes = 3 // of an operation: the file's word for their number is not enough to take memory
		count := int(binary.LittleEndian.Uint32(r.batch[batchrepr.HeaderLen-4:]))
		if err := c.change(batchrepr.Reader(r.batch[batchrepr.HeaderLen:]), max(min(count, len(r.batch)/leastBytes), leastRoom)); err != nil {
			return fmt.Errorf("%w: record at %d: %w", ErrDamaged, at, err)
		}
		at = r.end
	}
	if uint64(at) < installed {
		return fmt.Errorf("%w: a record at %d is not whole, and %d bytes were synced before the log was used", ErrDamaged, at, installed)
	}
	for from := at; ; from++ {
		i := bytes.Index(b[from:], []byte(recordMagic))
		if i < 0 {
			return nil
		}
		from += i
		if r, ok := parseLogRecord(b, from-8); ok && r.synced > uint64(at) {
			return fmt.Errorf("%w: a record at %d is not whole, and the one at %d knows %d bytes as synced", ErrDamaged, at, from-8, r.synced)
		}
	}
}

// logRecord is a record that was read.
type logRecord struct {
	batch  []byte
	synced uint64
	end    int
}

// parseLogRecord reads the record that begins at an offset; not ok if none does, or it is not whole.
func parseLogRecord(b []byte, at int) (r logRecord, ok bool) {
	if at < logHead || len(b)-at < recordHead {
		return r, false
	}
	h := b[at : at+recordHead]
	size := int(binary.LittleEndian.Uint32(h[12:]))
	if string(h[8:12]) != recordMagic || size < batchrepr.HeaderLen || size > len(b)-at-recordHead {
		return r, false
	}
	r.end = at + recordHead + size
	if binary.LittleEndian.Uint64(h) != xxh3.HashSeed(b[at+8:r.end], uint64(at)) {
		return r, false
	}
	r.batch, r.synced = b[at+recordHead:r.end:r.end], binary.LittleEndian.Uint64(h[16:])
	return r, true
}

// appendLogRecord appends a record that begins at an offset of the file.
func appendLogRecord(dst []byte, at, synced int64, batch []byte) []byte {
	n := len(dst)
	dst = append(append(dst, make([]byte, recordHead)...), batch...)
	sealLogRecord(dst[n:], at, synced)
	return dst
}

// sealLogRecord writes the head of a record whose batch is in place.
func sealLogRecord(r []byte, at, synced int64) {
	copy(r[8:], recordMagic)
	binary.LittleEndian.PutUint32(r[12:], uint32(len(r)-recordHead))
	binary.LittleEndian.PutUint64(r[16:], uint64(synced))
	binary.LittleEndian.PutUint64(r, xxh3.HashSeed(r[8:], uint64(at)))
}

// appendSet appends the operation of a batch that writes a record.
func appendSet(dst []byte, r *record) []byte {
	dst = binary.AppendUvarint(append(dst, byte(pebble.InternalKeyKindSet)), uint64(len(r.key)))
	dst = binary.AppendUvarint(append(dst, r.key...), uint64(len(r.value)))
	return append(dst, r.value...)
}

// append writes a batch to the end of the file and returns the copy of it that was written, also on an error.
func (l *memoryLog) append(batch []byte) ([]byte, error) {
	size := recordHead + len(batch)
	if size > cap(l.room)-len(l.room) {
		l.room = make([]byte, 0, max(size, leastPiece))
	}
	from := len(l.room)
	l.room = appendLogRecord(l.room, l.end, l.synced, batch)
	b := l.room[from:len(l.room):len(l.room)]
	payload := b[recordHead:]
	if len(batch) > maxBatchSize {
		return payload, fmt.Errorf("a batch of %d bytes: the limit is %d", len(batch), maxBatchSize)
	}
	if _, err := l.file.WriteAt(b, l.end); err != nil {
		return payload, err
	}
	l.end += int64(len(b))
	return payload, nil
}

// sync makes durable what was appended.
func (l *memoryLog) sync() error {
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.synced = l.end
	return nil
}

// isLong reports whether the log should be replaced.
func (l *memoryLog) isLong() bool { return l.end-l.installed > logLong+l.installed }

// replace puts a log in place that holds c and nothing else. It is durable as a whole before it has the name, and has it
// durably before anything is appended.
func (l *memoryLog) replace(c *records) error {
	const opHead = 11 // of an operation in a batch, at most: its kind and two lengths
	size := logHead + recordHead + batchrepr.HeaderLen
	c.tree.Scan(func(r *record) bool {
		size += opHead + len(r.key) + len(r.value)
		return true
	})
	b := make([]byte, logHead, size)
	if c.tree.Len() > 0 {
		b = append(b, make([]byte, recordHead+batchrepr.HeaderLen)...)
		binary.LittleEndian.PutUint32(b[len(b)-4:], uint32(c.tree.Len())) // the number of operations ends the batch's header
		c.tree.Scan(func(r *record) bool {
			b = appendSet(b, r)
			return true
		})
		sealLogRecord(b[logHead:], logHead, 0)
	}
	copy(b, logMagic)
	binary.LittleEndian.PutUint64(b[8:], uint64(len(b)))
	binary.LittleEndian.PutUint64(b[16:], xxh3.Hash(b[:16]))

	temp := l.path + ".tmp"
	f, err := l.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = l.fs.Rename(temp, l.path)
	}
	if err == nil {
		err = l.folder.Sync()
	}
	if err != nil {
		return err
	}
	if f, err = l.fs.OpenReadWrite(l.path, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	if l.file != nil {
		err = l.file.Close()
	}
	n := int64(len(b))
	l.file, l.end, l.installed, l.synced = f, n, n, n
	return err
}

// close syncs the log and lets go of the directory.
func (l *memoryLog) close() error {
	err := l.sync()
	return errors.Join(err, l.file.Close(), l.folder.Close(), l.lock.Close())
}

// abandon lets go of the directory without a write.
func (l *memoryLog) abandon() {
	for _, c := range []io.Closer{l.file, l.folder, l.lock} {
		if c != nil {
			_ = c.Close() // nothing was written that it could lose
		}
	}
}
