package localstack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// modulePath names our module in its go.mod; the repository root is where that file is.
const modulePath = "sallyport.dev/sallyport"

// keyDigits is how much of the hash names a cache directory: 64 bits tell the few
// builds of one machine apart.
const keyDigits = 16

// CacheDirectory is where the built binaries are kept: $SALLYPORT_STACK_CACHE, or
// sallyport/stack in the user's cache directory.
func CacheDirectory() (string, error) {
	if dir := os.Getenv("SALLYPORT_STACK_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the stack's binaries (set SALLYPORT_STACK_CACHE): %w", err)
	}
	return filepath.Join(dir, "sallyport", "stack"), nil
}

// repositoryRoot walks up from a directory to the go.mod of this module.
func repositoryRoot(from string) (string, error) {
	for dir := from; ; {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && declares(content, modulePath) {
			return dir, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("finding the repository root: %w", err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("finding the repository root: no go.mod of %s at or above %q; run this inside a checkout", modulePath, from)
		}
		dir = parent
	}
}

func declares(goMod []byte, module string) bool {
	for line := range strings.Lines(string(goMod)) {
		if strings.TrimSpace(line) == "module "+module {
			return true
		}
	}
	return false
}

// cacheKey hashes everything that decides a tool's content: its pins, what is built
// with which flags, and the compiler and platform it is built for.
func cacheKey(root string, t tool, platform string) (string, error) {
	hash := sha256.New()
	for _, pin := range t.pins {
		content, err := os.ReadFile(filepath.Join(root, t.module, pin))
		if err != nil {
			return "", fmt.Errorf("reading the pins of %s: %w", t.name, err)
		}
		fmt.Fprintf(hash, "%s %d\n", pin, len(content))
		hash.Write(content)
	}
	fmt.Fprintf(hash, "\x00%s\x00%s\x00%s\x00%s", t.name, t.pkg, t.ldflags, platform)
	return hex.EncodeToString(hash.Sum(nil))[:keyDigits], nil
}

// complete says whether a cache directory holds all the files of a tool. A directory
// appears there by rename, so one that exists is whole unless somebody cleaned in it.
func complete(dir string, t tool) bool {
	for _, name := range t.files {
		if !isFile(filepath.Join(dir, name)) {
			return false
		}
	}
	return true
}

// fileLock is an advisory lock between processes. The kernel drops it with the
// process, so none is ever left behind; the file stays, and means nothing.
type fileLock struct{ file *os.File }

// lockFile takes the lock on a path; without wait a lock that somebody holds is
// errLocked at once.
func lockFile(path string, wait bool) (*fileLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("locking %q: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %q: %w", path, err)
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	if err := flock(int(file.Fd()), how); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("locking %q: %w", path, err)
	}
	return &fileLock{file}, nil
}

var errLocked = errors.New("locked by another process")

func flock(fd, how int) error {
	for {
		err := unix.Flock(fd, how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// release gives the lock up; closing the file is what does it.
func (l *fileLock) release() { l.file.Close() }

// CleanCache removes what Build has made, and nothing else that lies in the directory.
func CleanCache() error {
	dir, err := CacheDirectory()
	if err != nil {
		return err
	}
	for _, t := range tools() {
		paths, err := filepath.Glob(filepath.Join(dir, t.name+"-*"))
		if err != nil {
			return fmt.Errorf("cleaning the cache: %w", err)
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("cleaning the cache: %w", err)
			}
		}
	}
	return nil
}
