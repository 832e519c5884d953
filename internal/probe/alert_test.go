package probe_test

import (
	"crypto/tls"
	"testing"

	"sallyport.dev/sallyport/internal/probe"
)

// What each alert of RFC 8446 section 6 means to a caller who was asked for a
// certificate. close_notify (0) ends a connection and is no alert; user_canceled (90) is
// ignored with TLS 1.3.
func TestAlertsThatJudgeTheCertificateAreRefusals(t *testing.T) {
	e := newEdge(t)
	other, refusal := probe.OtherAlert, probe.CertificateRefused
	for _, test := range []struct {
		number byte
		name   string
		want   probe.Reason
	}{
		{10, "unexpected_message", other},
		{20, "bad_record_mac", other},
		{21, "decryption_failed", other},
		{22, "record_overflow", other},
		{30, "decompression_failure", other},
		{40, "handshake_failure", refusal},
		{42, "bad_certificate", refusal},
		{43, "unsupported_certificate", refusal},
		{44, "certificate_revoked", refusal},
		{45, "certificate_expired", refusal},
		{46, "certificate_unknown", refusal},
		{47, "illegal_parameter", other},
		{48, "unknown_ca", refusal},
		{49, "access_denied", refusal},
		{50, "decode_error", other},
		{51, "decrypt_error", refusal},
		{60, "export_restriction", other},
		{70, "protocol_version", other},
		{71, "insufficient_security", other},
		{80, "internal_error", other},
		{86, "inappropriate_fallback", other},
		{100, "no_renegotiation", other},
		{109, "missing_extension", other},
		{110, "unsupported_extension", other},
		{112, "unrecognized_name", other},
		{113, "bad_certificate_status_response", other},
		{115, "unknown_psk_identity", other},
		{116, "certificate_required", refusal},
		{120, "no_application_protocol", other},
		{255, "tls: alert(255)", other},
	} {
		for _, version := range versions {
			t.Run(tls.VersionName(version)+": "+test.name, func(t *testing.T) {
				t.Parallel()
				facts := call(t, patient, probe.Target{Address: listen(t, refusing(e.config(version), test.number))}, e.managed)
				if facts.Alert != test.name || facts.Reason != test.want || (facts.Outcome == probe.Refused) != (test.want == refusal) {
					t.Errorf("facts %+v, expected the alert %s and reason %s", shapeOf(facts), test.name, test.want)
				}
			})
		}
	}
}
