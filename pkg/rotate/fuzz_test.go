package rotate

import (
	"maps"
	"slices"
	"testing"
)

// FuzzLedger gives any text as one entry of a ledger that is right otherwise. What is
// read is written back, and read again.
func FuzzLedger(f *testing.F) {
	encoded, err := established(f, settings()).Encode()
	if err != nil {
		f.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(encoded))
	for i, key := range keys {
		f.Add(uint8(i), encoded[key]) //nolint:gosec // a handful
	}
	f.Fuzz(func(t *testing.T, which uint8, value []byte) {
		data := maps.Clone(encoded)
		data[keys[int(which)%len(keys)]] = value
		ledger, err := DecodeLedger(data)
		if err != nil {
			return
		}
		again, err := ledger.Encode()
		if err != nil {
			t.Fatalf("a ledger was read and cannot be written: %v", err)
		}
		if _, err := DecodeLedger(again); err != nil {
			t.Errorf("a ledger was read, as it is written it is not: %v", err)
		}
	})
}

// FuzzSerials gives any text as the record of serials.
func FuzzSerials(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("0a 1790000000 0123456789abcdef0123 shop/caller\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		serials, err := ParseSerials(data)
		if err != nil {
			return
		}
		again, err := ParseSerials(serials.Encode())
		if err != nil || len(again.Issued()) != len(serials.Issued()) {
			t.Errorf("%d serials were read, of their own form %d: %v", len(serials.Issued()), len(again.Issued()), err)
		}
	})
}
