package localstack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCacheKeyFollowsEverythingThatDecidesTheContent(t *testing.T) {
	thing := tool{name: "thing", module: "m", pins: []string{"go.mod", "go.sum"}, pkg: "example.com/thing", ldflags: "-s"}
	key := func(sum string, change func(*tool), platform string) string {
		t.Helper()
		root, changed := t.TempDir(), thing
		write(t, filepath.Join(root, "m", "go.mod"), "module m\n")
		write(t, filepath.Join(root, "m", "go.sum"), sum)
		change(&changed)
		key, err := cacheKey(root, changed, platform)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	same := func(*tool) {}
	first := key("a 1\n", same, "go1.26 linux amd64")
	if again := key("a 1\n", same, "go1.26 linux amd64"); again != first {
		t.Errorf("the same content in another checkout has key %q, want %q", again, first)
	}
	for what, other := range map[string]string{
		"another checksum": key("a 2\n", same, "go1.26 linux amd64"),
		"another compiler": key("a 1\n", same, "go1.27 linux amd64"),
		"another platform": key("a 1\n", same, "go1.26 linux arm64"),
		"other flags":      key("a 1\n", func(t *tool) { t.ldflags = "-s -w" }, "go1.26 linux amd64"),
		"another package":  key("a 1\n", func(t *tool) { t.pkg += "/v2" }, "go1.26 linux amd64"),
		"another tool":     key("a 1\n", func(t *tool) { t.name = "other" }, "go1.26 linux amd64"),
	} {
		if other == first {
			t.Errorf("%s does not change the key", what)
		}
	}
}

func TestCacheKeyNeedsItsPins(t *testing.T) {
	_, err := cacheKey(t.TempDir(), tool{name: "thing", module: "m", pins: []string{"go.mod"}}, "")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one that says that the pins do not exist", err)
	}
}

func TestEveryToolHasItsPinsInTheRepository(t *testing.T) {
	working, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := repositoryRoot(working)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, tool := range tools() {
		key, err := cacheKey(root, tool, "go linux amd64")
		if err != nil {
			t.Errorf("%s: %v", tool.name, err)
		}
		if other, taken := keys[key]; taken {
			t.Errorf("%s and %s share a key", tool.name, other)
		}
		keys[key] = tool.name
	}
}

func TestRepositoryRootIsTheModuleItself(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "module "+modulePath+"\n\ngo 1.26.0\n")
	// A module below whose path only begins like ours.
	below := filepath.Join(root, "test", "stack", "etcd")
	write(t, filepath.Join(below, "go.mod"), "module "+modulePath+"/test/stack/etcd\n")
	got, err := repositoryRoot(below)
	if err != nil || got != root {
		t.Errorf("root %q, error %v, want %q", got, err, root)
	}
	if got, err := repositoryRoot(t.TempDir()); err == nil {
		t.Errorf("outside a checkout the root is %q, want an error", got)
	}
}

func TestAHeldLockIsNotTakenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "lock")
	first, err := lockFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(path, false); !errors.Is(err, errLocked) {
		t.Errorf("taking a held lock: %v, want %v", err, errLocked)
	}
	first.release()
	second, err := lockFile(path, true)
	if err != nil {
		t.Fatalf("taking a released lock: %v", err)
	}
	second.release()
}

func TestAssetsAreUsedWhenBothAreThere(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	write(t, filepath.Join(dir, nameEtcd), "")
	if _, _, ok := assets(); ok {
		t.Error("etcd alone is taken for a control plane")
	}
	write(t, filepath.Join(dir, nameAPIServer), "")
	etcd, apiServer, ok := assets()
	if !ok || etcd != filepath.Join(dir, nameEtcd) || apiServer != filepath.Join(dir, nameAPIServer) {
		t.Errorf("got %q, %q, %v", etcd, apiServer, ok)
	}
}
