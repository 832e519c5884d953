package rotate

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// MaxShard is the size in bytes that a shard of serials does not exceed: half of
// what fits into a Secret, so that it can always be written again.
const MaxShard = 512 << 10

// IssuedSerial records one certificate that was issued to a caller.
type IssuedSerial struct {
	// Serial of the certificate.
	Serial pki.Serial
	// NotAfter is its end, in whole seconds.
	NotAfter time.Time
	// Generation that signed it.
	Generation string
	// Caller is the namespace's UID and the ClientCertificate's name, so that
	// deleting and making it again is still the same caller.
	Caller string
}

// Serials is one shard of the record of what was issued to callers, in the order
// of issue.
type Serials struct {
	issued []IssuedSerial
}

// Issued are the records. Callers must not change the slice.
func (s Serials) Issued() []IssuedSerial { return s.issued }

// Add returns the shard with further records and without those that ended before
// now; false if they do not fit any more.
func (s Serials) Add(now time.Time, records ...IssuedSerial) (Serials, bool) {
	kept := s.Unexpired(now)
	kept.issued = append(kept.issued, records...)
	return kept, len(kept.Encode()) <= MaxShard
}

// Unexpired returns the shard without the records that ended before now.
func (s Serials) Unexpired(now time.Time) Serials {
	return Serials{issued: slices.DeleteFunc(slices.Clone(s.issued), func(r IssuedSerial) bool { return r.NotAfter.Before(now) })}
}

// Of are the records of one caller, the earliest end first.
func (s Serials) Of(caller string) []IssuedSerial {
	var found []IssuedSerial
	for _, r := range s.issued {
		if r.Caller == caller {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b IssuedSerial) int { return cmp.Compare(a.NotAfter.Unix(), b.NotAfter.Unix()) })
	return found
}

// Encode is the stored form: a line for each record.
func (s Serials) Encode() []byte {
	var out bytes.Buffer
	for _, r := range s.issued {
		fmt.Fprintf(&out, "%s %d %s %s\n", r.Serial, r.NotAfter.Unix(), r.Generation, r.Caller)
	}
	return out.Bytes()
}

// ParseSerials reads the stored form. A line that cannot be read is an error: a
// lost record is a certificate that nobody can revoke.
func ParseSerials(data []byte) (Serials, error) {
	if len(data) > MaxShard {
		return Serials{}, fmt.Errorf("reading serials: %d bytes, at most %d are read", len(data), MaxShard)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		// Its caller may be a part of the name, under which nobody would look.
		return Serials{}, errors.New("reading serials: the last line is cut off")
	}
	var s Serials
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		record, err := parseRecord(lines.Text())
		if err != nil {
			return Serials{}, fmt.Errorf("reading serials: line %d: %w", n, err)
		}
		s.issued = append(s.issued, record)
	}
	if err := lines.Err(); err != nil {
		return Serials{}, fmt.Errorf("reading serials: %w", err)
	}
	return s, nil
}

func parseRecord(line string) (IssuedSerial, error) {
	fields := strings.Split(line, " ")
	if len(fields) != 4 || fields[3] == "" {
		return IssuedSerial{}, fmt.Errorf("found %.100q, expected serial, end, generation and caller", line)
	}
	serial, err := pki.ParseSerial(fields[0])
	if err != nil {
		return IssuedSerial{}, err
	}
	seconds, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return IssuedSerial{}, fmt.Errorf("reading end: %w", err)
	}
	if _, err := generationNumber(fields[2]); err != nil {
		return IssuedSerial{}, err
	}
	return IssuedSerial{Serial: serial, NotAfter: time.Unix(seconds, 0), Generation: fields[2], Caller: fields[3]}, nil
}
