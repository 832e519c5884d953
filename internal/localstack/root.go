package localstack

import (
	"fmt"
	"os"
)

// Root is the directory of this module's sources: charts and commands are read and
// built from there.
func Root() (string, error) {
	directory, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the sources: %w", err)
	}
	return repositoryRoot(directory)
}
