package reload

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds one file. A Secret or ConfigMap holds at most 1 MiB, so nothing a
// cluster mounts is larger.
const maxFile = 1 << 20

// dataLink is the symbolic link through which the kubelet swaps all files of a
// mounted Secret at once; the files themselves are links through it.
const dataLink = "..data"

// readFiles reads the named files of a directory as one set. Where the kubelet's
// link exists it is resolved once, so that a swap between two reads cannot pair an
// old certificate with a new key: the files come from one of the two sets, or
// reading fails because the old set is gone. Optional files need not be there.
func readFiles(directory string, names, optional []string) (map[string][]byte, error) {
	from := directory
	// Read, not evaluated: what it points to may be gone the moment after, and a set
	// that is gone must not be taken for a directory without the link.
	target, err := os.Readlink(filepath.Join(directory, dataLink))
	switch {
	case err == nil && filepath.IsAbs(target):
		from = target
	case err == nil:
		from = filepath.Join(directory, target)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading link: %w", err)
	}
	files := make(map[string][]byte, len(names))
	for _, name := range names {
		content, err := readFile(filepath.Join(from, name))
		if err != nil {
			return nil, err
		}
		files[name] = content
	}
	for _, name := range optional {
		content, err := readFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) && exists(from) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[name] = content
	}
	return files, nil
}

// exists reports whether a set of files is still there: one that is gone has no file that is missing.
func exists(directory string) bool {
	_, err := os.Stat(directory)
	return err == nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the path is an operator's flag plus a constant name.
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("reading %s: larger than %d bytes", path, maxFile)
	}
	return content, nil
}

// digest stands for one set of files. The zero digest is that of no set.
type digest [sha256.Size]byte

func digestOf(files map[string][]byte, names []string) digest {
	h := sha256.New()
	for _, name := range names {
		// The length keeps the boundary between two files part of what is compared.
		fmt.Fprintf(h, "%d:", len(files[name]))
		h.Write(files[name])
	}
	return digest(h.Sum(nil))
}
