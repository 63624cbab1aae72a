// Package fuzz holds the fuzz targets that cross packages: bytes from a client or a peer against real nodes that have a real
// driver, an in-memory disk, and a queue in place of goroutines. Targets of one package's decoders live beside them. README.md
// says what each target claims, and how to run and keep what it finds.
package fuzz
