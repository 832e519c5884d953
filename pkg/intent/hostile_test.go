package intent

import (
	"strings"
	"testing"
)

func TestErrorsRepeatNothingThatCouldHarmATerminalOrALog(t *testing.T) {
	hostile := []string{
		"x\x00y", "x\ny", "x\r\ny", "\x1b[2Jx", "x\u202ey", "x\u2028y", "\xff\xfe", "m\u043ede",
		strings.Repeat("x", 256<<10), "{{.Secret}}\n", "../../x\x7f",
	}
	for _, text := range hostile {
		for _, object := range []Object{
			gateway(map[string]string{Prefix + text: "mutual"}),
			gateway(map[string]string{Prefix + text: text, KeyMode: text}),
			{Kind: KindAPIRule, Namespace: "shop", Name: "orders", Labels: map[string]string{Prefix + text: text}},
			apirule(map[string]string{KeyMode: "mutual", KeyAuthorities: text, KeyAllowedClients: text, KeyClientHeaders: text,
				KeyMinTLS: text, KeyKeyAlgorithm: text, KeyCertificateLifetime: text, KeyServerCertificate: text, KeyServerCredentialName: text}),
		} {
			answer := Parse(object, platform)
			if answer.State() != Invalid {
				t.Fatalf("%.20q: state %s", text, answer.State())
			}
			for _, err := range answer.Errors() {
				message := err.Error()
				if len(message) > 1000 {
					t.Errorf("%.20q: the error has %d bytes", text, len(message))
				}
				if i := strings.IndexFunc(message, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e || r == 0x2028 || r == 0xfffd }); i >= 0 {
					t.Errorf("%.20q: the error repeats it raw: %q", text, message)
				}
			}
		}
	}
}
