package probe

import (
	"crypto/tls"
	"errors"
	"net"
)

// alert is one that a server may send.
type alert struct {
	number tls.AlertError
	name   string
	// judges is whether it may be the answer to the certificate that was presented, or
	// to there being none.
	judges bool
}

// alerts are those of RFC 8446 section 6, and of RFC 5246 section 7.2 for TLS 1.2.
// Those that judge a certificate are named in section 6.2 of the former; besides, with
// TLS 1.2 handshake_failure is the answer to no certificate (RFC 5246 section 7.4.6),
// and decrypt_error says that the caller does not hold the key (7.4.8).
var alerts = []alert{
	{10, "unexpected_message", false},
	{20, "bad_record_mac", false},
	{21, "decryption_failed", false},
	{22, "record_overflow", false},
	{30, "decompression_failure", false},
	{40, "handshake_failure", true},
	{42, "bad_certificate", true},
	{43, "unsupported_certificate", true},
	{44, "certificate_revoked", true},
	{45, "certificate_expired", true},
	{46, "certificate_unknown", true},
	{47, "illegal_parameter", false},
	{48, "unknown_ca", true},
	{49, "access_denied", true},
	{50, "decode_error", false},
	{51, "decrypt_error", true},
	{60, "export_restriction", false},
	{70, "protocol_version", false},
	{71, "insufficient_security", false},
	{80, "internal_error", false},
	{86, "inappropriate_fallback", false},
	{90, "user_canceled", false},
	{100, "no_renegotiation", false},
	{109, "missing_extension", false},
	{110, "unsupported_extension", false},
	{112, "unrecognized_name", false},
	{113, "bad_certificate_status_response", false},
	{115, "unknown_psk_identity", false},
	{116, "certificate_required", true},
	{120, "no_application_protocol", false},
}

// received is the alert from the other side that an error of crypto/tls stands for. Its
// type is hidden, and its text is that of tls.AlertError with the same number.
func received(err error) (alert, bool) {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return alert{}, false
	}
	for _, a := range alerts {
		if a.number.Error() == remote.Err.Error() {
			return a, true
		}
	}
	return alert{name: remote.Err.Error()}, true
}
