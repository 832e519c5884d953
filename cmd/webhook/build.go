package main

import (
	"runtime/debug"

	"sallyport.dev/sallyport/internal/admission"
)

// build is what the Go toolchain stamped into the binary.
func build() admission.Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return admission.Build{Version: "unknown", Revision: "unknown", GoVersion: "unknown"}
	}
	b := admission.Build{Version: info.Main.Version, Revision: "unknown", GoVersion: info.GoVersion}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			b.Revision = setting.Value
		}
	}
	return b
}
