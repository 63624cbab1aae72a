package rdb

import (
	"encoding/binary"
	"errors"
	"hash/crc64"
)

// Versions of the format.
const (
	writtenVersion = 8  // of Redis 4.0; no encoding that is written here is newer
	maxVersion     = 11 // of Redis 7.2
)

const (
	versionLen  = 2
	checksumLen = 8
	footerLen   = versionLen + checksumLen
)

// jones is the reversed polynomial of Redis' CRC-64.
const jones = 0x95ac9329ac4bc9b5

// checksum is the CRC-64 of Redis, which neither begins nor ends with an inversion, as Go's does.
func checksum(b []byte) uint64 { return ^crc64.Update(^uint64(0), crc64.MakeTable(jones), b) }

// Errors of Decode.
var (
	// ErrFooter says that a payload is of a newer version, damaged, or none.
	ErrFooter = errors.New("rdb: version or checksum of the payload are wrong")
	// ErrFormat says that the value in a payload is not what its encoding says, or of an encoding that is not read.
	ErrFormat = errors.New("rdb: bad data format")
	// ErrTooLarge says that a value would take more than MaxDecoded bytes.
	ErrTooLarge = errors.New("rdb: the value is too large")
)

// cutFooter returns a payload without its footer. The error is ErrFooter.
func cutFooter(payload []byte) (body []byte, err error) {
	if len(payload) < footerLen {
		return nil, ErrFooter
	}
	summed, sum := payload[:len(payload)-checksumLen], payload[len(payload)-checksumLen:]
	body = summed[:len(summed)-versionLen]
	if binary.LittleEndian.Uint16(summed[len(body):]) > maxVersion || checksum(summed) != binary.LittleEndian.Uint64(sum) {
		return nil, ErrFooter
	}
	return body, nil
}

// appendFooter makes a payload of what it holds before the footer.
func appendFooter(body []byte) []byte {
	body = binary.LittleEndian.AppendUint16(body, writtenVersion)
	return binary.LittleEndian.AppendUint64(body, checksum(body))
}
