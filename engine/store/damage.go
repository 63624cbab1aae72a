package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble takes the first chunk of a log or of a MANIFEST whose checksum is wrong for the end of the file, as a crash leaves it: what
// was written last can be torn. (Of a log it looks ahead, but not within the block of 32 KiB.) A bit that has flipped there
// takes everything away that was written after it, acknowledged writes and ownership records among it, and nothing tells. So
// before Pebble opens a directory its logs and its MANIFEST are read once: a chunk that is wrong is damage, not the end, when
//
//   - one bit makes it right, and what is behind it was written as well: in a log a right chunk, be it in the next block, in a MANIFEST
//     anything but zeros; or
//   - behind it is a chunk that was written when the place of the wrong one had been synced: in a log each chunk says up to where that
//     was so, but not in the first one of a directory, and a MANIFEST is synced after each record.
//
// One bit alone is not enough. Of a chunk that a crash has torn the rest is what the place held before: zeros, or in a log, which is written
// over an older one, what was written there then, perhaps nearly the same.
//
// So one bit is noticed wherever what was acknowledged stands: a sync writes an empty record behind it (pebbleKV.sync), which is
// the last chunk of the log, and losing that one loses nothing. Not noticed is damage of more than one bit
//
//   - in a log: in what one sync round has made durable, if there was no later one to say so, and in the first log of a directory;
//   - in a MANIFEST: in its last record.

// ErrDamaged says that a file of the directory is not as it was written. Nothing was touched. Open returns it on either engine, and whatever needs a
// table that says of itself a version that none has.
var ErrDamaged = errors.New("the file is damaged")

// Both files are sequences of chunks that do not cross a block. Of a chunk, by offset:
//
//	0  4  checksum of everything behind the size, masked CRC-32C, little-endian as all numbers
//	4  2  size of the payload
//	6  1  kind: full, first, middle or last part of a record: 1 to 4 in a MANIFEST, 5 to 8 in the first log, 9 to 12 in others
//	7  4  number of the log; logs only
//	11 8  up to where the log was synced when the chunk was written, an offset; kinds 9 to 12 only
//
// A rest of a block that is too short for a header is filled with zeros.
const (
	chunkBlock     = 32 << 10
	headerManifest = 7
	headerFirstLog = 11
	headerLog      = 19
	kindFirst      = 2 // 1 is full
	kindManifest   = 4 // and below
	kindFirstLog   = 8
	kindLog        = 12
)

// checkDamage reads the logs and the MANIFEST of a directory, if there are any, and fails with ErrDamaged if one is not as it was
// written.
func checkDamage(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	if !desc.Exists {
		return nil
	}
	if err := checkChunks(fs, desc.ManifestFilename, chunks{}); err != nil {
		return err
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		digits, isLog := strings.CutSuffix(name, ".log")
		n, err := strconv.ParseUint(digits, 10, 64)
		if !isLog || err != nil {
			continue
		}
		if err := checkChunks(fs, fs.PathJoin(dir, name), chunks{isLog: true, log: uint32(n)}); err != nil {
			return err
		}
	}
	return nil
}

// chunks reads the chunks of a file of one kind.
type chunks struct {
	isLog bool
	log   uint32 // number of the log
	wrong int64  // where the first chunk is that is not right; -1 while there is none
	next  int64  // the block that one bit makes the wrong chunk end at; a right chunk there shows that it was whole. -1: none
}

// checkChunks reads a file block by block.
func checkChunks(fs vfs.FS, path string, c chunks) error {
	f, err := fs.Open(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	c.wrong, c.next = -1, -1
	buf := make([]byte, chunkBlock)
	for start := int64(0); ; start += chunkBlock {
		n, err := io.ReadFull(f, buf)
		if damaged := c.block(buf[:n], start); damaged {
			return fmt.Errorf("%s, offset %d: %w", path, c.wrong, ErrDamaged)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
}

// block reads the chunks of a block that begins at an offset of the file, and reports that the file is damaged.
func (c *chunks) block(b []byte, start int64) (damaged bool) {
	if c.next == start {
		if _, ok := c.right(b); ok {
			return true
		}
	}
	at := 0
	for c.wrong < 0 && !c.filling(b[at:]) {
		size, ok := c.right(b[at:])
		if !ok {
			c.wrong = start + int64(at)
			if c.flipped(b[at:], start+int64(len(b))) {
				return true
			}
			break
		}
		at += size
	}
	if c.wrong < 0 {
		return false
	}
	if start <= c.wrong {
		at++
	}
	for ; at < len(b); at++ {
		if _, ok := c.right(b[at:]); ok && c.proves(b[at:]) {
			return true
		}
	}
	return false
}

// least is the size of the smallest header.
func (c *chunks) least() int {
	if c.isLog {
		return headerFirstLog
	}
	return headerManifest
}

// filling reports whether the rest of a block is too short for a chunk.
func (c *chunks) filling(rest []byte) bool {
	return len(rest) < c.least() || c.isLog && len(rest) < headerLog && bytes.Count(rest, []byte{0}) == len(rest)
}

// right reports whether b begins with a chunk that is as it was written, and its size.
func (c *chunks) right(b []byte) (size int, ok bool) {
	size, ok = c.shape(b)
	if !ok || c.isLog && binary.LittleEndian.Uint32(b[7:]) != c.log { // logs are written over older ones
		return 0, false
	}
	return size, checksum(b[6:size]) == binary.LittleEndian.Uint32(b)
}

// shape is the size of the chunk that b begins with, header included; not ok if it is none of this kind of file, or b ends before.
func (c *chunks) shape(b []byte) (size int, ok bool) {
	if len(b) < c.least() {
		return 0, false
	}
	switch kind := b[6]; {
	case kind == 0 || kind > kindLog || c.isLog != (kind > kindManifest):
		return 0, false
	case kind <= kindManifest:
		size = headerManifest
	case kind <= kindFirstLog:
		size = headerFirstLog
	default:
		size = headerLog
	}
	size += int(binary.LittleEndian.Uint16(b[4:]))
	return size, size <= len(b)
}

// proves reports whether a right chunk behind the wrong one shows that the wrong one had been synced.
func (c *chunks) proves(b []byte) bool {
	if c.isLog {
		return b[6] > kindFirstLog && binary.LittleEndian.Uint64(b[11:]) > uint64(c.wrong)
	}
	return b[6] <= kindFirst // it begins a record of its own, so the one before had been synced
}

// flipped reports whether one bit makes a right chunk of what the rest of a block begins with, and what is behind the bit shows that the chunk was
// whole. If the block ends with the chunk, the beginning of the next block can show it.
func (c *chunks) flipped(b []byte, next int64) bool {
	at, size, found := c.mend(bytes.Clone(b))
	switch {
	case !found:
		return false
	case c.isLog && c.filling(b[size:]):
		c.next = next
		return false
	case c.isLog:
		_, ok := c.right(b[size:])
		return ok
	default:
		return bytes.Count(b[at:], []byte{0}) < len(b)-at
	}
}

// mend looks for the bit that makes a right chunk of what b begins with, and flips it. It returns the byte that has it and the size of the chunk.
func (c *chunks) mend(b []byte) (at, size int, found bool) {
	for bit := range 8 * 7 { // of the checksum, of the size and of the kind
		b[bit/8] ^= 1 << (bit % 8)
		if size, ok := c.right(b); ok {
			return bit / 8, size, true
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	size, ok := c.shape(b)
	if !ok {
		return 0, 0, false
	}
	bit, found := flippedBit(b[6:size], binary.LittleEndian.Uint32(b))
	if !found {
		return 0, 0, false
	}
	at = 6 + bit/8
	b[at] ^= 1 << (bit % 8)
	size, ok = c.right(b)
	return at, size, ok
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksums are masked, so that checksums of what holds checksums are none.
const (
	maskRotate = 17
	maskAdd    = 0xa282ead8
)

func checksum(b []byte) uint32 {
	return bits.RotateLeft32(crc32.Checksum(b, castagnoli), maskRotate) + maskAdd
}

// flippedBit finds the bit that, flipped, gives b a checksum. A CRC is linear: the difference of two checksums is that of a message which
// has the differing bits only, and that of a single bit follows from the one of the bit eight places behind it.
func flippedBit(b []byte, want uint32) (bit int, found bool) {
	differ := crc32.Checksum(b, castagnoli) ^ bits.RotateLeft32(want-maskAdd, -maskRotate)
	var of [8]uint32 // of each bit of the byte that is looked at
	for i := range of {
		of[i] = castagnoli[1<<i]
	}
	for at := len(b) - 1; at >= 0; at-- {
		for i := range of {
			if of[i] == differ {
				return 8*at + i, true
			}
			of[i] = of[i]>>8 ^ castagnoli[byte(of[i])]
		}
	}
	return 0, false
}
