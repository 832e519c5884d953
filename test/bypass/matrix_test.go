package bypass

import (
	"crypto/tls"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// dimensions are what is crossed with each other.
type dimensions struct {
	ports, snis []string
	requests    []request
	callers     []*caller
	sessions    []*session
}

// cells are all ways there are, over TLS.
func (d dimensions) cells() []cell {
	var all []cell
	for _, port := range d.ports {
		for _, sni := range d.snis {
			for _, r := range d.requests {
				for _, by := range d.callers {
					for _, s := range d.sessions {
						all = append(all, cell{port: port, sni: sni, request: r, caller: by, session: s})
						if r.absolute == "" {
							all = append(all, cell{port: port, sni: sni, request: r, caller: by, session: s, http2: true})
						}
					}
				}
			}
		}
	}
	return all
}

// plain are all ways there are without TLS, where nobody shows anything.
func (d dimensions) plain() []cell {
	var all []cell
	for _, port := range d.ports {
		for _, r := range d.requests {
			forged := r
			forged.forwarded = maps.Clone(r.forwarded)
			if forged.forwarded == nil {
				forged.forwarded = http.Header{}
			}
			forged.forwarded.Set("X-Forwarded-Proto", "https")
			all = append(all, cell{port: port, plain: true, caller: nobody, request: r}, cell{port: port, plain: true, caller: nobody, request: forged})
		}
	}
	return all
}

// names are requests that say a name and nothing else.
func names(hosts ...string) []request {
	var all []request
	for _, host := range hosts {
		all = append(all, request{authority: host})
	}
	return all
}

var (
	allSNIs = []string{pay, wild, basket, blog, strings.ToUpper(pay), unknown, ""}
	// spelt are the names of the bank's in other ways.
	spelt = append(names(strings.ToUpper(pay), pay+":443", pay+":8080", pay+".", wild+":443", strings.ToUpper(wild)),
		request{authority: blog, absolute: pay}, request{authority: pay, absolute: blog},
		request{authority: blog, forwarded: http.Header{"X-Forwarded-Host": {pay}, "Forwarded": {"host=" + pay}}})
	allNames = names(pay, wild, basket, blog, unknown)
	versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}
)

// world is the edge as it is meant, with everybody who calls it.
type world struct {
	callers []*caller
	revoked *caller // one of them
	begun   []*session
}

// newWorld configures the edge, and waits until it does as it is meant to with each of the
// callers. One of them begins sessions and is revoked then; the others begin theirs after
// that, because a revocation ends all sessions.
func newWorld(t *testing.T) world {
	t.Helper()
	configure(t)
	friend, stolen, neighbour := issued(t, "bank", "caller"), issued(t, "bank", "stolen"), issued(t, "shop", "caller")
	eventuallyAs(t, stolen, pay, pay)
	eventuallyAs(t, friend, wild, wild)
	eventuallyAs(t, neighbour, basket, basket)
	eventuallyAs(t, nobody, blog, blog)
	eventuallyCell(t, cell{port: portHTTP, plain: true, caller: nobody, request: request{authority: pay, forwarded: http.Header{"X-Forwarded-Proto": {"https"}}}})
	eventuallyCell(t, cell{port: portHTTP, plain: true, caller: nobody, request: request{authority: pay}})
	w := world{callers: []*caller{friend, nobody, neighbour, stranger(t), stolen, expired(t)}, revoked: stolen}
	for _, version := range versions {
		w.begun = append(w.begun, begin(t, version, stolen, portHTTPS, pay))
	}
	revoke(t, stolen, "stolen")
	for _, version := range versions {
		w.begun = append(w.begun, begin(t, version, friend, portHTTPS, pay), begin(t, version, friend, portSecond, wild),
			begin(t, version, neighbour, portHTTPS, basket), begin(t, version, nobody, portHTTPS, blog))
	}
	return w
}

// cells are the matrix. Sessions of before are offered by who has no certificate, or none
// that counts there, to every name: what they open is what they were begun with.
func (w world) cells() []cell {
	encrypted, everything := []string{portHTTPS, portSecond}, slices.Concat(allNames, spelt)
	older, newer := []*session{anew(tls.VersionTLS12)}, []*session{anew(tls.VersionTLS13)}
	return slices.Concat(
		dimensions{encrypted, allSNIs, everything, w.callers, newer}.cells(),
		dimensions{encrypted, allSNIs, allNames, w.callers, older}.cells(),
		dimensions{encrypted, allSNIs, allNames, []*caller{nobody, w.revoked}, w.begun}.cells(),
		dimensions{[]string{portHTTP}, []string{pay, blog, ""}, names(pay, blog), w.callers, newer}.cells(),
		dimensions{ports: []string{portHTTPS, portSecond, portHTTP}, requests: everything}.plain(),
	)
}

// Nobody reaches a workload behind mutual TLS but with a certificate of its authority,
// and everybody meets what the rule says.
func TestNobodyGetsPastTheCertificate(t *testing.T) {
	w := newWorld(t)
	cells := w.cells()
	if len(cells) < 500 {
		t.Errorf("%d cells are too few", len(cells))
	}
	begun := time.Now()
	outcomes := run(t, cells)
	t.Logf("%d cells in %s", len(cells), time.Since(begun).Round(100*time.Millisecond))
	if past := meant.bypasses(outcomes); len(past) > 0 {
		t.Errorf("%d ways past the certificate", len(past))
	}
	for _, o := range outcomes {
		if want := meant.verdict(o.cell, o.who()); o.verdict != want {
			t.Errorf("%s: %s, expected %s", o.cell, o.verdict, want)
		}
	}
	checkSessions(t, w.begun, outcomes)
	checkCounts(t, outcomes)
}

// checkSessions holds resumption to the server that a session was begun with, and to the
// living: theirs is resumed there.
func checkSessions(t *testing.T, begun []*session, outcomes []outcome) {
	t.Helper()
	resumed := map[*session]int{}
	for _, o := range outcomes {
		if !o.resumed {
			continue
		}
		resumed[o.session]++
		at, _ := meant.server(o.port, o.sni)
		if from, _ := meant.server(o.session.port, o.session.sni); at != from {
			t.Errorf("resumed at another server: %s: %s", o.cell, o.verdict)
		}
	}
	for _, s := range begun {
		if (resumed[s] == 0) != s.begunBy.dead {
			t.Errorf("%s was resumed %d times", s, resumed[s])
		}
		t.Logf("%6d times resumed: %s", resumed[s], s)
	}
}

// checkCounts holds the matrix to showing each kind of verdict.
func checkCounts(t *testing.T, outcomes []outcome) {
	t.Helper()
	counts := map[string]int{}
	for _, o := range outcomes {
		counts[o.verdict]++
	}
	for _, verdict := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%6d %s", counts[verdict], verdict)
	}
	for _, verdict := range []string{refused, notFound, redirect, reached + "pay", reached + "wild", reached + "basket", reached + "blog"} {
		if counts[verdict] == 0 {
			t.Errorf("nobody met %q", verdict)
		}
	}
}
