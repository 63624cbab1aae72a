package store

import "testing"

func TestMayUseGoroutines(t *testing.T) {
	done := make(chan bool)
	go close(done)
	<-done
}
