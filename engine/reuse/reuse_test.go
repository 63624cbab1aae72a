package reuse

import "testing"

// TestSlices requires that what Get returns is empty and that small slices are not kept.
func TestSlices(t *testing.T) {
	var s Slices
	if b := s.Get(); b != nil {
		t.Errorf("of nothing Get made %d bytes", cap(b))
	}
	s.Put(make([]byte, Least-1))
	if b := s.Get(); b != nil {
		t.Errorf("a slice of %d bytes was kept", cap(b))
	}
	s.Put(make([]byte, Least))
	if b := s.Get(); len(b) != 0 || b != nil && cap(b) != Least { // the collector may have taken it
		t.Errorf("Get returned %d bytes with room for %d, want none with room for %d", len(b), cap(b), Least)
	}
}

// TestSpoil requires that all of a slice that is put is overwritten, and that nobody gets it.
func TestSpoil(t *testing.T) {
	s := Slices{Spoil: true}
	room := []byte("of six")
	s.Put(room[:2])
	for i, b := range room {
		if b != spoilt {
			t.Errorf("byte %d is %q still", i, b)
		}
	}
	s.Put(make([]byte, Least))
	if b := s.Get(); b != nil {
		t.Errorf("Get returned %d bytes", cap(b))
	}
}
