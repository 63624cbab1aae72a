package rdb

// lzfMaxRatio is how many bytes one compressed byte can become at most: three bytes are a copy of 264.
const lzfMaxRatio = 88

// decompress undoes the compression of LibLZF: runs of up to 32 literal bytes, and copies of what came up to 8 KiB before. ok is false
// if in is not the compressed form of exactly n bytes.
func decompress(in []byte, n int) (out []byte, ok bool) {
	out = make([]byte, 0, n)
	for len(in) > 0 {
		control := int(in[0])
		in = in[1:]
		if control < 32 { // literals
			run := control + 1
			if run > len(in) || run > n-len(out) {
				return nil, false
			}
			out, in = append(out, in[:run]...), in[run:]
			continue
		}
		length := control >> 5
		if length == 7 {
			if len(in) == 0 {
				return nil, false
			}
			length, in = length+int(in[0]), in[1:]
		}
		length += 2
		if len(in) == 0 {
			return nil, false
		}
		from := len(out) - (control&0x1f)<<8 - int(in[0]) - 1
		in = in[1:]
		if from < 0 || length > n-len(out) {
			return nil, false
		}
		for ; length > 0; length-- { // what is copied may be part of the copy
			out = append(out, out[from])
			from++
		}
	}
	return out, len(out) == n
}
