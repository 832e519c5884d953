package rotate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sallyport.dev/sallyport/pkg/pki"
)

func serial(t testing.TB, n int) pki.Serial {
	t.Helper()
	s, err := pki.ParseSerial(fmt.Sprintf("7f%030x", n))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func issued(t testing.TB, n int, end time.Time) IssuedSerial {
	t.Helper()
	return IssuedSerial{Serial: serial(t, n), NotAfter: end, Generation: "g1", Caller: "5f0c/billing"}
}

// sameRecord compares what a record means: two times may be the same in two zones.
var sameRecord = cmp.Options{
	cmp.Comparer(func(a, b pki.Serial) bool { return a == b }),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
}

func TestSerialsRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var shard Serials
		for n := range rapid.IntRange(0, 40).Draw(rt, "records") {
			record := IssuedSerial{
				Serial:     serial(t, n+rapid.IntRange(1, 1<<30).Draw(rt, "serial")),
				NotAfter:   start.Add(time.Duration(rapid.IntRange(0, 1<<30).Draw(rt, "end")) * time.Second),
				Generation: generationID(rapid.IntRange(1, 99).Draw(rt, "generation")),
				Caller:     rapid.StringMatching(`[0-9a-f-]{36}/[a-z0-9.-]{1,63}`).Draw(rt, "caller"),
			}
			var fits bool
			if shard, fits = shard.Add(start, record); !fits {
				rt.Fatalf("record %d does not fit", n)
			}
		}
		read, err := ParseSerials(shard.Encode())
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(shard.Issued(), read.Issued(), sameRecord); diff != "" {
			rt.Fatalf("written and read back (-written +read):\n%s", diff)
		}
	})
}

func TestSerialsForgetWhatHasEnded(t *testing.T) {
	var shard Serials
	for n, end := range []time.Time{start.Add(time.Hour), start.Add(3 * time.Hour), start.Add(2 * time.Hour)} {
		shard, _ = shard.Add(start, issued(t, n+1, end))
	}
	at := start.Add(time.Hour + pki.MaxBackdate)
	if found := len(shard.Unexpired(at).Issued()); found != 3 {
		t.Errorf("%d records in the last second of the first, expected 3: a gateway whose clock is behind still accepts it", found)
	}
	later := at.Add(time.Second)
	grown, fits := shard.Add(later, issued(t, 4, start.Add(4*time.Hour)))
	want := []IssuedSerial{issued(t, 2, start.Add(3*time.Hour)), issued(t, 3, start.Add(2*time.Hour)), issued(t, 4, start.Add(4*time.Hour))}
	if diff := cmp.Diff(want, grown.Issued(), sameRecord); diff != "" || !fits {
		t.Errorf("after the first ended: fits %t (-want +found):\n%s", fits, diff)
	}
	if found := len(shard.Issued()); found != 3 {
		t.Errorf("the shard that was added to has %d records, expected its own 3", found)
	}
	byEnd := []IssuedSerial{issued(t, 3, start.Add(2*time.Hour)), issued(t, 2, start.Add(3*time.Hour)), issued(t, 4, start.Add(4*time.Hour))}
	if diff := cmp.Diff(byEnd, grown.Of("5f0c/billing"), sameRecord); diff != "" {
		t.Errorf("of the caller, the earliest end first (-want +found):\n%s", diff)
	}
	if found := grown.Of("5f0c/bill"); found != nil {
		t.Errorf("a caller whose name begins alike has %v", found)
	}
}

func TestFullShard(t *testing.T) {
	line := issued(t, 1, start.Add(time.Hour))
	size := len(Serials{issued: []IssuedSerial{line}}.Encode())
	full := Serials{issued: make([]IssuedSerial, roomInShard/size)}
	for n := range full.issued {
		full.issued[n] = issued(t, n+1, start.Add(time.Hour))
	}
	if _, fits := full.Add(start, line); fits {
		t.Errorf("%d records of %d bytes fit into %d", len(full.issued)+1, size, roomInShard)
	}
	if read, err := ParseSerials(full.Encode()); err != nil || len(read.Issued()) != len(full.issued) {
		t.Errorf("a full shard is read with error %v", err)
	}
	if emptied, fits := full.Add(start.Add(2*time.Hour), issued(t, 1, start.Add(3*time.Hour))); !fits || len(emptied.Issued()) != 1 {
		t.Errorf("a shard whose records have ended has %d, fits %t; expected the new one alone", len(emptied.Issued()), fits)
	}
	many := slices.Repeat([]IssuedSerial{line}, MaxShard/size)
	if batch, fits := (Serials{}).Add(start, many...); !fits || len(batch.Issued()) != len(many) {
		t.Errorf("of a batch of %d an empty shard takes %d, fits %t", len(many), len(batch.Issued()), fits)
	}
	if _, fits := (Serials{}).Add(start, append(many, line)...); fits {
		t.Error("an empty shard takes more than can be read again")
	}
	if _, err := ParseSerials(make([]byte, MaxShard+1)); err == nil || !strings.Contains(err.Error(), "524289 bytes, at most 524288 are read") {
		t.Errorf("a shard that is too large: error %v", err)
	}
}

func TestParseSerialsRefusesWhatItCannotRead(t *testing.T) {
	good := string(Serials{issued: []IssuedSerial{issued(t, 1, start)}}.Encode())
	tests := map[string]struct{ data, want string }{
		"empty line":               {good + "\n", `line 2: found ""`},
		"no caller":                {"01 1 g1 \n", `line 1: found "01 1 g1 ", expected serial, end, generation and caller`},
		"a field more":             {good + "01 1 g1 a b\n", `line 2: found "01 1 g1 a b"`},
		"no serial":                {"xyz 1 g1 a\n", `line 1: reading serial number`},
		"the serial 0":             {"00 1 g1 a\n", `line 1: reading serial number`},
		"no time":                  {"01 soon g1 a\n", `line 1: reading end`},
		"no generation":            {"01 1 h1 a\n", `line 1: generation is called "h1"`},
		"cut off in its last line": {good[:len(good)-3], "reading serials: the last line is cut off"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseSerials([]byte(test.data)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("found error %v, expected one with %q", err, test.want)
			}
		})
	}
	if read, err := ParseSerials(nil); err != nil || len(read.Issued()) != 0 {
		t.Errorf("an empty shard is read as %v, error %v", read, err)
	}
}

// A certificate of a caller counts for ten minutes longer than it lives, because a gateway's clock may be behind (or the agent's
// ahead). That another certificate is recorded meanwhile changes nothing of that.
func TestTheMarginOfACallersEndOutlivesTheNextRecord(t *testing.T) {
	s := short()
	l := replaced(t, s)
	end := at(110)
	old := IssuedSerial{Serial: serial(t, 1), NotAfter: end, Generation: "g1", Caller: "ns/partner"}
	young := IssuedSerial{Serial: serial(t, 2), NotAfter: at(120), Generation: "g2", Caller: "ns/other"}
	record, _ := Serials{}.Add(at(100), old)
	now := end.Add(time.Minute) // by a clock that is right; a gateway's is nine minutes before the end
	withdraws := func(record Serials) bool {
		plan := PlanAuthority(l, s, Evidence{ClientsEnd: record.Ends(), InUse: map[string]bool{}}, now)
		return slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Action == Withdraw })
	}
	if withdraws(record) {
		t.Fatal("there is no margin at all")
	}
	record, _ = record.Add(now, young)
	if withdraws(record) {
		t.Error("one minute after the end of the last certificate of g1 it leaves what gateways trust, because another caller was issued a certificate meanwhile")
	}
}
