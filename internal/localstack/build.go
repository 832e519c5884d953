package localstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// builder makes what is missing in the cache.
type builder struct {
	root     string
	cache    string
	platform string
	progress *progress
}

// Build finds or makes every binary of the stack and answers with their paths. It has
// to run inside a checkout of this repository. The first build takes about 12 minutes
// on two cores and tells its progress to the writer (nil: silently); after that the
// cache answers. Several processes may build at once: each binary is built by one of
// them while the others wait. KUBEBUILDER_ASSETS replaces etcd and kube-apiserver.
func Build(ctx context.Context, out io.Writer) (Binaries, error) {
	b, err := newBuilder(ctx, newProgress(out))
	if err != nil {
		return Binaries{}, err
	}
	etcd, apiServer, prebuilt := assets()
	dirs := map[string]string{}
	for _, t := range tools() {
		if prebuilt && (t.name == nameEtcd || t.name == nameAPIServer) {
			continue
		}
		if dirs[t.name], err = b.ensure(ctx, t); err != nil {
			return Binaries{}, err
		}
	}
	at := func(tool, file string) string { return filepath.Join(dirs[tool], file) }
	if !prebuilt {
		etcd, apiServer = at(nameEtcd, nameEtcd), at(nameAPIServer, nameAPIServer)
	}
	return Binaries{
		Etcd:           etcd,
		KubeAPIServer:  apiServer,
		PilotDiscovery: at(nameDiscovery, nameDiscovery),
		PilotAgent:     at(nameAgent, nameAgent),
		Envoy:          at(nameEnvoy, nameEnvoy),
		Httpbin:        at(nameHttpbin, nameHttpbin),
		IstioCRDs:      at(nameIstioFiles, fileCRDs),
		EnvoyBootstrap: at(nameIstioFiles, fileBootstrap),
	}, nil
}

func newBuilder(ctx context.Context, p *progress) (*builder, error) {
	working, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the repository root: %w", err)
	}
	root, err := repositoryRoot(working)
	if err != nil {
		return nil, err
	}
	cache, err := CacheDirectory()
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("go"); err != nil {
		return nil, fmt.Errorf("building the local stack: the go command is not on the PATH; install Go 1.26 or newer: %w", err)
	}
	platform, err := output(ctx, filepath.Join(root, "test", "stack", "controlplane"), nil, "go", "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return nil, fmt.Errorf("asking go for its version: %w", err)
	}
	return &builder{root: root, cache: cache, platform: platform, progress: p}, nil
}

// ensure answers with the cache directory of a tool, making it first if need be.
func (b *builder) ensure(ctx context.Context, t tool) (string, error) {
	key, err := cacheKey(b.root, t, b.platform)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, t.name+"-"+key)
	if complete(dir, t) {
		return dir, nil
	}
	lock, err := b.lock(dir+".lock", t)
	if err != nil {
		return "", err
	}
	defer lock.release()
	if complete(dir, t) { // built by whoever held the lock
		return dir, nil
	}
	done := b.progress.step(fmt.Sprintf("building %s (%s)", t.name, t.about))
	err = b.fill(ctx, dir, t)
	done(err)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", t.name, err)
	}
	return dir, nil
}

func (b *builder) lock(path string, t tool) (*fileLock, error) {
	lock, err := lockFile(path, false)
	if errors.Is(err, errLocked) {
		done := b.progress.step(fmt.Sprintf("waiting for another process that builds %s", t.name))
		lock, err = lockFile(path, true)
		done(err)
	}
	return lock, err
}

// fill builds into a directory beside the final one and renames it: a directory under
// its final name is whole, whatever happened to earlier builds.
func (b *builder) fill(ctx context.Context, dir string, t tool) error {
	partial, err := os.MkdirTemp(b.cache, t.name+"-partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	switch t.name {
	case nameEnvoy:
		err = b.installEnvoy(ctx, t, partial)
	case nameIstioFiles:
		err = b.copyIstioFiles(ctx, t, partial)
	default:
		err = b.goBuild(ctx, t, filepath.Join(partial, t.name))
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(partial, dir)
}

func (b *builder) goBuild(ctx context.Context, t tool, to string) error {
	// -mod=mod would rewrite the pins; -buildvcs=false: the stamp of our own commit
	// would relink every tool on every commit.
	_, err := output(ctx, filepath.Join(b.root, t.module), []string{"CGO_ENABLED=0", "GOWORK=off"},
		"go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", t.ldflags, "-o", to, t.pkg)
	return err
}

// istioFiles are where the two files lie in Istio's module, by the name we keep them under.
func istioFiles() map[string]string {
	return map[string]string{
		fileCRDs:      filepath.Join("manifests", "charts", "base", "files", fileCRDs),
		fileBootstrap: filepath.Join("tools", "packaging", "common", fileBootstrap),
	}
}

// copyIstioFiles keeps the files next to the binaries, so that a cached stack needs
// no module cache.
func (b *builder) copyIstioFiles(ctx context.Context, t tool, to string) error {
	module := filepath.Join(b.root, t.module)
	if _, err := output(ctx, module, []string{"GOWORK=off"}, "go", "mod", "download", "istio.io/istio"); err != nil {
		return err
	}
	source, err := output(ctx, module, []string{"GOWORK=off"}, "go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "istio.io/istio")
	if err != nil {
		return err
	}
	for name, path := range istioFiles() {
		if err := copyFile(filepath.Join(source, path), filepath.Join(to, name), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// output runs a command and answers with what it printed, trimmed. The error carries
// the end of what it said, which is where compilers and pip put the reason.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	command.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("running %s %s: %w\n%s", name, strings.Join(args, " "), err, lastLines(stderr.Bytes(), tailLines))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func copyFile(from, to string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		return fmt.Errorf("copying %q: %w", from, err)
	}
	return target.Close()
}
