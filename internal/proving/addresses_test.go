package proving

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesThatAreNeverDialled(t *testing.T) {
	cluster := Addresses{APIServer: []netip.Addr{netip.MustParseAddr("10.96.0.1")}}
	for ip, want := range map[string]string{
		"10.0.0.7":                 "",
		"2001:db8::1":              "",
		"127.0.0.1":                "local to the agent's own machine",
		"127.8.9.10":               "local to the agent's own machine",
		"::1":                      "local to the agent's own machine",
		"::ffff:127.0.0.1":         "local to the agent's own machine",
		"169.254.169.254":          "local to the agent's own machine",
		"fe80::1":                  "local to the agent's own machine",
		"::ffff:169.254.169.254":   "local to the agent's own machine",
		"10.96.0.1":                "is the API server's",
		"::ffff:10.96.0.1":         "is the API server's",
		"0.0.0.0":                  "is no host's",
		"::":                       "is no host's",
		"224.0.0.1":                "is no host's",
		"ff02::1":                  "is no host's",
		"":                         "cannot be read",
		"metadata.google.internal": "cannot be read",
	} {
		err := cluster.Check(ip)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", ip, err, want)
		}
	}
	local := Addresses{Local: true, APIServer: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	if err := local.Check("127.0.0.1"); err != nil {
		t.Errorf("on one machine: %v", err)
	}
	if err := local.Check("0.0.0.0"); err == nil {
		t.Error("on one machine no host's address is dialled")
	}
}

func TestTheAPIServersAddress(t *testing.T) {
	for host, want := range map[string]string{
		"https://10.96.0.1:443":        "10.96.0.1",
		"https://[2001:db8::1]:6443/x": "2001:db8::1",
		"10.0.0.1:6443":                "10.0.0.1",
		"10.0.0.1":                     "10.0.0.1",
		"https://kubernetes.default":   "",
		"":                             "",
	} {
		got := APIServerAddresses(host)
		if want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].String() != want {
			t.Errorf("%q: %v, expected %q", host, got, want)
		}
	}
}
