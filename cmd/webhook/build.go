package main

import (
	"sallyport.dev/sallyport/internal/admission"
	"sallyport.dev/sallyport/internal/startup"
)

// build is what is running.
func build() admission.Build { return admission.Build(startup.ReadBuild()) }
