package mounted

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"sallyport.dev/sallyport/internal/testpki"
)

// What a directory holds is published once it is good, and stays until something else is; each
// change is told, and whoever listens late hears of it once.
func TestCAs(t *testing.T) {
	now := time.Now()
	path := t.TempDir()
	cas := New(map[string]string{"corporate": path}, testclock.NewFakeClock(now))
	write := func(certificate, key []byte) {
		t.Helper()
		for name, content := range map[string][]byte{certificateFile: certificate, keyFile: key} {
			if err := os.WriteFile(filepath.Join(path, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cas.directories["corporate"].Reload()
	}
	told := func() bool {
		select {
		case <-cas.Changed():
			return true
		default:
			return false
		}
	}

	if _, err := cas.CA("nobody"); !errors.Is(err, ErrNoDirectory) || !strings.Contains(err.Error(), "(corporate)") {
		t.Errorf("error %v, expected that there is none, and which there are", err)
	}
	if ca, err := cas.CA("corporate"); err == nil || !ca.IsZero() {
		t.Errorf("before anything was read: %v, %v", ca, err)
	}
	first, second := testpki.Root(t, "first", testpki.Around(now)), testpki.Root(t, "second", testpki.Around(now))
	write(first.PEM(), first.KeyPEM(t))
	if ca, err := cas.CA("corporate"); err != nil || !ca.CA.Certificate().X509().Equal(first.X509) {
		t.Errorf("the first: %v, %v", ca, err)
	}
	write(second.PEM(), first.KeyPEM(t))
	if ca, err := cas.CA("corporate"); err == nil || !ca.CA.Certificate().X509().Equal(first.X509) {
		t.Errorf("a key of another: %v, %v; expected the last good one, and what is wrong", ca, err)
	}
	write(second.PEM(), second.KeyPEM(t))
	if ca, err := cas.CA("corporate"); err != nil || !ca.CA.Certificate().X509().Equal(second.X509) {
		t.Errorf("the second: %v, %v", ca, err)
	}
	if !told() || told() {
		t.Error("three changes that nobody listened to are not told once")
	}
	cas.directories["corporate"].Reload()
	if told() {
		t.Error("what did not change was told")
	}
}
