package localstack

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

const (
	// tailLines is how much of a log an error carries: enough for a Go panic's head
	// or a usage message, short enough to read in a terminal.
	tailLines = 20
	// tailBytes bounds what is read for that: 20 lines of the longest we have seen.
	tailBytes = 64 << 10
)

// lastLines is the end of a text, at most n lines of it.
func lastLines(text []byte, n int) string {
	text = bytes.TrimRight(text, "\n")
	for at := len(text); n > 0; n-- {
		at = bytes.LastIndexByte(text[:at], '\n')
		if at < 0 {
			return string(text)
		}
		if n == 1 {
			return string(text[at+1:])
		}
	}
	return ""
}

// tail is the last lines of a file, or a remark why there are none.
func tail(path string, n int) string {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > tailBytes {
		if _, err := file.Seek(-tailBytes, io.SeekEnd); err != nil {
			return fmt.Sprintf("(no log: %v)", err)
		}
	}
	content, err := io.ReadAll(io.LimitReader(file, tailBytes))
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return "(the log is empty)"
	}
	return lastLines(content, n)
}
