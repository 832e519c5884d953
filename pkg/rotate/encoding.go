package rotate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// ErrKeyMissing says that the record of a generation is there and its key is not.
// A key is never replaced silently: callers trust it.
var ErrKeyMissing = errors.New("the private key is missing")

// indexKey is where the list of generations stands in the stored form; the rest
// are PEM files, <id>.crt and so on.
const indexKey = "generations.json"

const (
	certificateFile      = ".crt"
	keyFile              = ".key"
	crlFile              = ".crl"
	crossFile            = ".cross.crt"
	beforeFile           = ".before.crt"
	aboveFile            = ".above.crt"
	aboveCRLFile         = ".above.crl"
	probeCertificateFile = ".probe.crt"
	probeKeyFile         = ".probe.key"
)

// A version rises when an older reader would misread the record: one that knows plainVersion alone takes no notice
// of CAs above a generation's own.
const (
	plainVersion  = 1
	formatVersion = 2
)

// maxIndex bounds the list of generations in bytes; a hundred generations fit.
const maxIndex = 16 << 10

type index struct {
	Version     int          `json:"version"`
	Last        int          `json:"last,omitempty"`
	Generations []indexEntry `json:"generations"`
}

type indexEntry struct {
	ID           string       `json:"id"`
	State        State        `json:"state"`
	CreatedAt    time.Time    `json:"createdAt"`
	Since        time.Time    `json:"since,omitzero"`
	Replaced     time.Time    `json:"replaced,omitzero"`
	CrossRevoked []indexCross `json:"crossRevoked,omitempty"`
}

type indexCross struct {
	Serial   string    `json:"serial"`
	At       time.Time `json:"at"`
	NotAfter time.Time `json:"notAfter"`
}

func (g Generation) entry() indexEntry {
	entry := indexEntry{ID: g.ID, State: g.State, CreatedAt: g.CreatedAt.UTC(), Since: g.Since.UTC(), Replaced: g.Replaced.UTC()}
	for _, c := range g.CrossRevoked {
		entry.CrossRevoked = append(entry.CrossRevoked, indexCross{Serial: c.Serial.String(), At: c.At.UTC(), NotAfter: c.NotAfter.UTC()})
	}
	return entry
}

// Encode is the stored form of the ledger: the data of one Secret.
func (l Ledger) Encode() (map[string][]byte, error) {
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("writing ledger: %w", err)
	}
	data := map[string][]byte{}
	list := index{Version: plainVersion, Last: l.last}
	for _, g := range l.generations {
		list.Generations = append(list.Generations, g.entry())
		data[g.ID+certificateFile] = g.Authority.Certificate().PEM()
		data[g.ID+keyFile] = g.Authority.Key().PEM()
		if len(g.Above) > 0 {
			list.Version = formatVersion
		}
		for _, e := range g.Above {
			data[g.ID+aboveFile] = append(data[g.ID+aboveFile], e.CA.PEM()...)
			if !e.CRL.IsZero() {
				data[g.ID+aboveCRLFile] = append(data[g.ID+aboveCRLFile], e.CRL.PEM()...)
			}
		}
		data[g.ID+probeCertificateFile] = g.Probe.CertificatePEM()
		data[g.ID+probeKeyFile] = g.Probe.KeyPEM()
		if !g.CRL.IsZero() {
			data[g.ID+crlFile] = g.CRL.PEM()
		}
		if !g.Cross.IsZero() {
			data[g.ID+crossFile], data[g.ID+beforeFile] = g.Cross.PEM(), g.Before.PEM()
		}
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("writing ledger: %w", err)
	}
	data[indexKey] = encoded
	return data, nil
}

// DecodeLedger reads the stored form. Every part of it must be there and fit:
// ErrKeyMissing if a generation's private key is not.
func DecodeLedger(data map[string][]byte) (Ledger, error) {
	raw, ok := data[indexKey]
	if !ok {
		return Ledger{}, fmt.Errorf("reading ledger: %s is missing", indexKey)
	}
	if len(raw) > maxIndex {
		return Ledger{}, fmt.Errorf("reading ledger: %s has %d bytes, at most %d are read", indexKey, len(raw), maxIndex)
	}
	var list index
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&list); err != nil {
		return Ledger{}, fmt.Errorf("reading ledger: %w", err)
	}
	if list.Version < plainVersion || list.Version > formatVersion {
		return Ledger{}, fmt.Errorf("reading ledger: its format is version %d, expected %d to %d; a newer agent wrote it", list.Version, plainVersion, formatVersion)
	}
	if len(list.Generations) == 0 {
		return Ledger{}, fmt.Errorf("reading ledger: %s lists no generation", indexKey)
	}
	ledger := Ledger{last: list.Last}
	for _, entry := range list.Generations {
		g, err := decodeGeneration(entry, data)
		if err != nil {
			return Ledger{}, fmt.Errorf("reading ledger: generation %.32q: %w", entry.ID, err)
		}
		ledger.generations = append(ledger.generations, g)
	}
	if list.Last == 0 { // written before a number could be given up
		if last, err := generationNumber(list.Generations[len(list.Generations)-1].ID); err == nil {
			ledger.last = last
		}
	}
	if err := ledger.check(); err != nil {
		return Ledger{}, fmt.Errorf("reading ledger: %w", err)
	}
	return ledger, nil
}

func decodeGeneration(entry indexEntry, data map[string][]byte) (Generation, error) {
	if len(data[entry.ID+keyFile]) == 0 {
		return Generation{}, ErrKeyMissing
	}
	authority, err := pki.ParseAuthority(data[entry.ID+certificateFile], data[entry.ID+keyFile])
	if err != nil {
		return Generation{}, err
	}
	probe, err := pki.ParsePair(data[entry.ID+probeCertificateFile], data[entry.ID+probeKeyFile])
	if err != nil {
		return Generation{}, fmt.Errorf("probe certificate: %w", err)
	}
	g := Generation{
		ID: entry.ID, State: entry.State, CreatedAt: entry.CreatedAt, Since: entry.Since, Replaced: entry.Replaced, Authority: authority, Probe: probe,
	}
	if g.Since.IsZero() {
		g.Since = g.CreatedAt // written before it was noted
	}
	for _, c := range entry.CrossRevoked {
		serial, err := pki.ParseSerial(c.Serial)
		if err != nil {
			return Generation{}, fmt.Errorf("revoked cross-signed certificate: %w", err)
		}
		g.CrossRevoked = append(g.CrossRevoked, CrossRevoked{Serial: serial, At: c.At, NotAfter: c.NotAfter})
	}
	if err := g.decodeAbove(data); err != nil {
		return Generation{}, err
	}
	if err := g.decodeCross(data); err != nil {
		return Generation{}, err
	}
	if stored, ok := data[entry.ID+crlFile]; ok {
		crls, err := pki.ParseCRLs(stored)
		if err != nil {
			return Generation{}, err
		}
		if len(crls) != 1 {
			return Generation{}, fmt.Errorf("found %d CRLs, expected one", len(crls))
		}
		g.CRL = crls[0]
	}
	return g, nil
}

// decodeAbove reads what is above the generation, where anything is.
func (g *Generation) decodeAbove(data map[string][]byte) error {
	stored, has := data[g.ID+aboveFile]
	if !has {
		return nil
	}
	cas, err := pki.ParseCertificates(stored)
	if err != nil {
		return fmt.Errorf("%s: %w", g.ID+aboveFile, err)
	}
	if cas, err = pki.PathAbove(g.Authority.Certificate(), cas, maxAbove); err != nil {
		return fmt.Errorf("%s: %w", g.ID+aboveFile, err)
	}
	if g.Authority, err = through(g.Authority, cas); err != nil {
		return fmt.Errorf("%s: %w", g.ID+aboveFile, err)
	}
	for _, ca := range cas {
		g.Above = append(g.Above, pki.BundleEntry{CA: ca})
	}
	crls, has := data[g.ID+aboveCRLFile]
	if !has {
		return nil
	}
	parsed, err := pki.ParseCRLs(crls)
	if err != nil {
		return fmt.Errorf("%s: %w", g.ID+aboveCRLFile, err)
	}
	g.Above = newest(g.Above, parsed)
	return nil
}

// decodeCross reads what vouches for the generation, where anything does.
func (g *Generation) decodeCross(data map[string][]byte) error {
	if _, vouched := data[g.ID+crossFile]; !vouched {
		return nil
	}
	for file, to := range map[string]*pki.Certificate{crossFile: &g.Cross, beforeFile: &g.Before} {
		found, err := pki.ParseCertificates(data[g.ID+file])
		if err != nil {
			return fmt.Errorf("%s: %w", g.ID+file, err)
		}
		if len(found) != 1 {
			return fmt.Errorf("%s: found %d certificates, expected one", g.ID+file, len(found))
		}
		*to = found[0]
	}
	if _, err := g.Authority.Through(g.Cross); err != nil {
		return fmt.Errorf("cross-signed certificate: %w", err)
	}
	if err := g.Cross.X509().CheckSignatureFrom(g.Before.X509()); err != nil {
		return fmt.Errorf("cross-signed certificate: it is not signed by the generation before: %w", err)
	}
	return nil
}
