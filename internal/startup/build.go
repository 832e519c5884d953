package startup

import "runtime/debug"

// Build says what is running.
type Build struct {
	// Version of the module, Revision of its source, and GoVersion it was built with.
	Version, Revision, GoVersion string
}

// ReadBuild is what the Go toolchain stamped into the binary.
func ReadBuild() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: "unknown", Revision: "unknown", GoVersion: "unknown"}
	}
	b := Build{Version: info.Main.Version, Revision: "unknown", GoVersion: info.GoVersion}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			b.Revision = setting.Value
		}
	}
	return b
}
