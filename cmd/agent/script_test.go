package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sallyport.dev/sallyport/internal/testenv"
)

var environment testenv.Environment

// onServer runs the tests of a package beside an API server.
type onServer struct{ tests *testing.M }

func (s onServer) Run() int { return testenv.Run(s.tests, &environment) }

func TestMain(m *testing.M) {
	testscript.Main(onServer{m}, map[string]func(){"agent": main})
}

func TestScripts(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true})
}
