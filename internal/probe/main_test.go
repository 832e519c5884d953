package probe_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if material := os.Getenv(benchServer); material != "" {
		serveBenchmark(material)
		return
	}
	goleak.VerifyTestMain(m)
}
