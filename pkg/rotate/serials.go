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

// roomInShard is the size in bytes up to which a shard is added to: each write of one costs the API
// server, its store and every watch all of it.
const roomInShard = 32 << 10

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
	// Revoked is since when it is not to be accepted any more; zero for what is good.
	Revoked Revocation
}

// Revocation is when and why a certificate was revoked.
type Revocation struct {
	// At is the moment, in whole seconds.
	At time.Time
	// Reason is a reason code of RFC 5280 section 5.3.1; 0 gives none.
	Reason int
}

// IsZero reports whether there was none.
func (r Revocation) IsZero() bool { return r.At.IsZero() }

// maxReason is the highest reason code of RFC 5280 section 5.3.1 (aACompromise).
const maxReason = 10

// Serials is one shard of the record of what was issued to callers, in the order
// of issue.
type Serials struct {
	issued []IssuedSerial
}

// Issued are the records. Callers must not change the slice.
func (s Serials) Issued() []IssuedSerial { return s.issued }

// Add returns the shard with further records and without those that ended before
// now; false if they do not fit any more. Into an empty one go more than into others.
func (s Serials) Add(now time.Time, records ...IssuedSerial) (Serials, bool) {
	kept, room := s.Unexpired(now), roomInShard
	if len(kept.issued) == 0 {
		room = MaxShard
	}
	kept.issued = append(kept.issued, records...)
	return kept, len(kept.Encode()) <= room
}

// counts reports whether a gateway may take a certificate at now: one whose clock is behind does so
// for a while after its end.
func (r IssuedSerial) counts(now time.Time) bool { return !endsAtGateways(r.NotAfter).Before(now) }

// endsAtGateways is when the last gateway takes a certificate to have ended, by the agent's clock.
func endsAtGateways(notAfter time.Time) time.Time { return notAfter.Add(pki.MaxBackdate) }

// Revoke returns the shard with every certificate of a caller revoked that has not ended
// and was not revoked before, and how many those are. A revocation is never changed.
func (s Serials) Revoke(caller string, r Revocation, now time.Time) (Serials, int) {
	revoked := 0
	after := Serials{issued: slices.Clone(s.issued)}
	for i := range after.issued {
		record := &after.issued[i]
		if record.Caller == caller && record.Revoked.IsZero() && record.counts(now) {
			record.Revoked = Revocation{At: r.At.Truncate(time.Second), Reason: r.Reason}
			revoked++
		}
	}
	return after, revoked
}

// Revoked are the records of what is revoked, in the order of issue.
func (s Serials) Revoked() []IssuedSerial {
	return slices.DeleteFunc(slices.Clone(s.issued), func(r IssuedSerial) bool { return r.Revoked.IsZero() })
}

// Ends is when the last certificate ends that is not revoked, by the id of the generation that
// signed it.
func (s Serials) Ends() map[string]time.Time {
	ends := map[string]time.Time{}
	for _, r := range s.issued {
		if r.Revoked.IsZero() && r.NotAfter.After(ends[r.Generation]) {
			ends[r.Generation] = r.NotAfter
		}
	}
	return ends
}

// revokedKept is how long the record of a revoked certificate outlives it: until CRLs have
// listed it for the last time (Revocations).
const revokedKept = 60 * 24 * time.Hour

// Unexpired returns the shard without the records that no gateway takes at now; of what is
// revoked without those that ended a good while before.
func (s Serials) Unexpired(now time.Time) Serials {
	return Serials{issued: slices.DeleteFunc(slices.Clone(s.issued), func(r IssuedSerial) bool {
		if r.Revoked.IsZero() {
			return !r.counts(now)
		}
		return r.NotAfter.Add(revokedKept).Before(now)
	})}
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

// Encode is the stored form: a line for each record, with when and why at its end if it
// is revoked.
func (s Serials) Encode() []byte {
	var out bytes.Buffer
	for _, r := range s.issued {
		fmt.Fprintf(&out, "%s %d %s %s", r.Serial, r.NotAfter.Unix(), r.Generation, r.Caller)
		if !r.Revoked.IsZero() {
			fmt.Fprintf(&out, " %d %d", r.Revoked.At.Unix(), r.Revoked.Reason)
		}
		out.WriteByte('\n')
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
	if len(fields) != 4 && len(fields) != 6 || fields[3] == "" {
		return IssuedSerial{}, fmt.Errorf("found %.100q, expected serial, end, generation and caller, and for what is revoked when and why", line)
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
	record := IssuedSerial{Serial: serial, NotAfter: time.Unix(seconds, 0), Generation: fields[2], Caller: fields[3]}
	if len(fields) == 6 {
		record.Revoked, err = parseRevocation(fields[4], fields[5])
	}
	return record, err
}

func parseRevocation(at, reason string) (Revocation, error) {
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return Revocation{}, fmt.Errorf("reading the moment of revocation: %w", err)
	}
	code, err := strconv.Atoi(reason)
	if err != nil || code < 0 || code > maxReason {
		return Revocation{}, fmt.Errorf("reason of revocation is %.16q, expected a code of RFC 5280 section 5.3.1", reason)
	}
	return Revocation{At: time.Unix(seconds, 0), Reason: code}, nil
}
