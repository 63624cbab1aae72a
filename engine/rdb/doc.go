// Package rdb reads and writes the payloads of DUMP and RESTORE, which are values in the format of Redis' RDB files.
//
// Vocabulary. A *payload* is one value with its type, and a footer. An *encoding* is the number by which a payload says how its value is
// written: each type of value has several, of which the older ones are read but not written by Redis itself. An *element* is an
// element of a list, a member of a set or sorted set, or a field or value of a hash, in turn.
//
//	| offset | size | field of a payload                                                            |
//	|--------|------|-------------------------------------------------------------------------------|
//	| 0      | 1    | encoding                                                                      |
//	| 1      | n    | the value                                                                     |
//	| 1+n    | 2    | version of the format, little-endian                                          |
//	| 3+n    | 8    | CRC-64 (Jones) of all before it, little-endian                                |
//
// Written are the simplest encodings, which every Redis since 4.0 reads: a string as it is, and a collection as a number of
// elements followed by them, scores as 8 bytes. They have version 8, that of Redis 4.0. Read are all that Redis 2.6 to
// 7.2 write for the five types, compressed strings and packed integers included. Streams, modules and the zipmap of Redis 2.4 are
// not read.
//
// Invariants.
//  1. No bytes make Decode panic, and it allocates in proportion to the payload and about MaxDecoded bytes at most, whatever
//     lengths a payload claims.
//  2. What Decode returns is fit to be stored: no collection is empty, no member or field is there twice, no score is NaN.
//  3. Decode of what a Writer wrote returns that, and a payload whose footer does not fit is refused before anything of it is read.
//
// Redis accepts a little more: it does not look for members that are there twice within a packed value, nor at bytes between a
// value and the footer. Both are refused here.
package rdb
