package mounted

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"sallyport.dev/sallyport/internal/reload"
	"sallyport.dev/sallyport/pkg/rotate"
)

// The files of a directory.
const (
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
	aboveFile       = "ca.crt"
	crlFile         = "ca.crl"
)

// CAs are the mounted ones. They are safe for concurrent use.
type CAs struct {
	directories map[string]*reload.Directory[rotate.Brought]
	changed     chan event.GenericEvent
}

// New returns the CAs in directories, by name. Nothing is read before they are started.
func New(directories map[string]string, c clock.WithTicker) *CAs {
	cas := &CAs{directories: map[string]*reload.Directory[rotate.Brought]{}, changed: make(chan event.GenericEvent, 1)}
	for name, path := range directories {
		cas.directories[name] = reload.New(reload.Config[rotate.Brought]{
			Directory: path, Files: []string{certificateFile, keyFile}, Optional: []string{aboveFile, crlFile}, Clock: c,
			Parse: func(files map[string][]byte) (rotate.Brought, error) {
				return rotate.ParseBrought(files[certificateFile], files[keyFile], files[aboveFile], files[crlFile])
			},
			Observe: func(error) { cas.tell() },
		})
	}
	return cas
}

// Add has a manager watch the directories.
func (c *CAs) Add(mgr manager.Manager) error {
	for _, name := range slices.Sorted(maps.Keys(c.directories)) {
		if err := mgr.Add(c.directories[name]); err != nil {
			return fmt.Errorf("adding the watch on CA directory %s: %w", name, err)
		}
	}
	return nil
}

// tell says that something changed. It never waits: what is not taken yet stands for all that
// follows.
func (c *CAs) tell() {
	select {
	case c.changed <- event.GenericEvent{Object: &metav1.PartialObjectMetadata{}}:
	default:
	}
}

// Changed is on which every change of any directory is told, as an object without a name.
func (c *CAs) Changed() <-chan event.GenericEvent { return c.changed }

// ErrNoDirectory says that no directory of a name is mounted.
var ErrNoDirectory = errors.New("no such directory is mounted")

// CA is the last good pair of a directory. With an error there may be one all the same, where what
// the directory holds now cannot be used.
func (c *CAs) CA(name string) (rotate.Brought, error) {
	directory, is := c.directories[name]
	if !is {
		known := slices.Sorted(maps.Keys(c.directories))
		return rotate.Brought{}, fmt.Errorf("%w: the agent has %d (%s); the chart's value agent.caDirectories mounts them", ErrNoDirectory, len(known), strings.Join(known, ", "))
	}
	err := directory.Status().Err
	if good := directory.Current(); good != nil {
		return *good, err
	}
	return rotate.Brought{}, err
}
