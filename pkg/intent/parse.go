package intent

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Parse reads what an object asks for.
//
// The keys are a closed grammar: any key under Prefix that is not known for this
// kind of object is an error, and so is a value that is not spelt exactly as
// documented. A key that nobody reads would look like protection and be none.
func Parse(o Object, p Platform) Answer {
	errs := append(labelErrors(o.Labels), keyErrors(o)...)
	i, disabled, modeErr := parseMode(o, p)
	if modeErr != nil {
		errs = append(errs, modeErr)
	}
	settings, settingErrs := parseSettings(o, p)
	errs = append(errs, settingErrs...)
	if len(errs) > 0 {
		return Answer{state: Invalid, errs: errs}
	}
	if disabled {
		return Answer{state: Disabled}
	}
	if i.mode == "" {
		return withoutMode(o)
	}
	settings.mode, settings.fromNamespace = i.mode, i.fromNamespace
	if settings.mode == ModeOptional && settings.clientHeaders != nil {
		return Answer{state: Invalid, errs: field.ErrorList{field.Invalid(annotation(KeyClientHeaders), shown(o.Annotations[KeyClientHeaders]),
			"goes with mode: mutual only: with optional a caller without a certificate could send the headers itself")}}
	}
	return Answer{state: Requested, intent: settings}
}

// withoutMode is the answer for an object that nobody opted in. Settings without a
// mode are a mistake, most likely the mode's.
func withoutMode(o Object) Answer {
	for _, key := range slices.Sorted(maps.Keys(o.Annotations)) {
		if isOurs(key) && key != KeyOwner {
			return Answer{state: Invalid, errs: field.ErrorList{field.Required(annotation(KeyMode),
				fmt.Sprintf("%s says how, but nothing says that: add %s: %s, or %s to keep it off", key, KeyMode, ModeMutual, ModeDisabled))}}
		}
	}
	return Answer{state: NotRequested}
}

// keysOf are the annotations that a user may write on an object of this kind.
func keysOf(kind Kind) []string {
	keys := []string{KeyMode, KeyAuthorities, KeyServerCertificate, KeyAllowedClients, KeyMinTLS, KeyKeyAlgorithm, KeyCertificateLifetime}
	if kind == KindAPIRule {
		keys = append(keys, KeyServerCredentialName, KeyClientHeaders)
	}
	slices.Sort(keys)
	return keys
}

// maxKeyErrors bounds how many unknown keys are explained, of annotations and of
// labels. The API server takes 256 KiB of annotations, which is thousands of keys; a
// person needs the first few.
const maxKeyErrors = 16

// keyErrors finds annotations of ours that mean nothing on this kind of object.
// The agent's KeyOwner is known: who may write it is not a question of grammar.
func keyErrors(o Object) field.ErrorList {
	var errs field.ErrorList
	known := keysOf(o.Kind)
	for _, key := range slices.Sorted(maps.Keys(o.Annotations)) {
		if !isOurs(key) || key == KeyOwner || slices.Contains(known, key) {
			continue
		}
		if len(errs) == maxKeyErrors {
			break
		}
		errs = append(errs, field.Invalid(annotation(key), shown(o.Annotations[key]), unknownKey(key, o.Kind, known)))
	}
	return errs
}

func unknownKey(key string, kind Kind, known []string) string {
	for _, right := range known {
		if strings.EqualFold(right, key) {
			return fmt.Sprintf("unknown key: it is spelt %s", right)
		}
	}
	switch {
	case slices.Contains(keysOf(KindAPIRule), key):
		return "goes on an APIRule, not on a Gateway: take it off"
	case key == KeyAdopt || key == KeyUseAsCA:
		return fmt.Sprintf("goes on a Secret, not on %s: take it off", withArticle(kind))
	case key == KeyManaged || key == KeyLedger:
		return "is written by the agent only, as a label: take it off"
	}
	return fmt.Sprintf("unknown key: %s has %s", withArticle(kind), strings.Join(known, ", "))
}

func withArticle(kind Kind) string {
	if kind == KindAPIRule {
		return "an APIRule"
	}
	return "a " + string(kind)
}

func labelErrors(labels map[string]string) field.ErrorList {
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if len(errs) == maxKeyErrors {
			break
		}
		switch {
		case !isOurs(key) || key == KeyManaged:
		case key == LabelDefaultMode:
			errs = append(errs, field.Invalid(label(key), shown(labels[key]), fmt.Sprintf("goes on a Namespace; on an object write the annotation %s", KeyMode)))
		default:
			errs = append(errs, field.Invalid(label(key), shown(labels[key]), "is not a label of this object; settings are annotations"))
		}
	}
	return errs
}

// parseMode takes the object's own mode, or where it has none its Namespace's.
func parseMode(o Object, p Platform) (i Intent, disabled bool, err *field.Error) {
	value, stated := o.Annotations[KeyMode]
	if !stated {
		switch Mode(p.NamespaceMode) {
		case "":
			return Intent{}, false, nil
		case ModeMutual, ModeOptional:
			return Intent{mode: Mode(p.NamespaceMode), fromNamespace: true}, false, nil
		}
		at := field.NewPath("namespace", "metadata", "labels").Key(LabelDefaultMode)
		return Intent{}, false, field.NotSupported(at, shown(p.NamespaceMode), []Mode{ModeMutual, ModeOptional})
	}
	switch Mode(value) {
	case ModeMutual, ModeOptional:
		return Intent{mode: Mode(value)}, false, nil
	case ModeDisabled:
		return Intent{}, true, nil
	}
	return Intent{}, false, field.NotSupported(annotation(KeyMode), shown(value), []Mode{ModeMutual, ModeOptional, ModeDisabled})
}

// parseSettings reads everything but the mode.
func parseSettings(o Object, p Platform) (Intent, field.ErrorList) {
	i := Intent{minTLS: TLS12}
	var errs field.ErrorList
	i.authorities, i.authorityImplied = implied(o, p)
	readers := []struct {
		key  string
		read func(value string) *field.Error
	}{
		{KeyAllowedClients, func(v string) (err *field.Error) { i.allowedClients, err = parseAllowedClients(v, o, p); return err }},
		{KeyAuthorities, func(v string) (err *field.Error) {
			i.authorities, err = parseAuthorities(v, o.Namespace)
			i.authorityImplied = false
			return err
		}},
		{KeyCertificateLifetime, func(v string) (err *field.Error) { i.lifetime, err = parseLifetime(v); return err }},
		{KeyClientHeaders, func(v string) (err *field.Error) {
			i.clientHeaders, err = parseClientHeaders(v, o.APIVersion)
			return err
		}},
		{KeyKeyAlgorithm, func(v string) (err *field.Error) { i.keyAlgorithm, err = parseKeyAlgorithm(v); return err }},
		{KeyMinTLS, func(v string) (err *field.Error) { i.minTLS, err = parseMinTLS(v); return err }},
		{KeyServerCertificate, func(v string) (err *field.Error) { i.provided, err = parseServerCertificate(v); return err }},
		{KeyServerCredentialName, func(v string) (err *field.Error) { i.credentialName, err = parseServerCredentialName(v); return err }},
	}
	known := keysOf(o.Kind)
	for _, reader := range readers {
		value, stated := o.Annotations[reader.key]
		if !stated || !slices.Contains(known, reader.key) {
			continue // a key on the wrong kind is reported as one
		}
		if err := reader.read(value); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		errs = providedErrors(i, o)
	}
	return i, errs
}

// providedErrors are settings that contradict who makes the server certificate.
func providedErrors(i Intent, o Object) field.ErrorList {
	var errs field.ErrorList
	if !i.provided {
		if i.credentialName != "" {
			errs = append(errs, field.Invalid(annotation(KeyServerCredentialName), shown(i.credentialName), fmt.Sprintf("goes with %s: provided: add that, or leave it out and the server certificate is issued", KeyServerCertificate)))
		}
		return errs
	}
	if o.Kind == KindAPIRule && i.credentialName == "" {
		errs = append(errs, field.Required(annotation(KeyServerCredentialName), fmt.Sprintf("%s: provided needs the name of the Secret with the certificate, in the ingress namespace: add it", KeyServerCertificate)))
	}
	for _, key := range []string{KeyCertificateLifetime, KeyKeyAlgorithm} {
		if value, stated := o.Annotations[key]; stated {
			errs = append(errs, field.Invalid(annotation(key), shown(value), fmt.Sprintf("goes with an issued certificate, and %s: provided says that it is somebody else's: take one of the two off", KeyServerCertificate)))
		}
	}
	return errs
}

// impliedAuthority is the name of the authority that a namespace gets by itself.
const impliedAuthority = "default"

func implied(o Object, p Platform) ([]types.NamespacedName, bool) {
	if p.DefaultAuthority.Name != "" {
		return []types.NamespacedName{p.DefaultAuthority}, false
	}
	return []types.NamespacedName{{Namespace: o.Namespace, Name: impliedAuthority}}, true
}

// OurKeys are the annotations and labels under Prefix, labels with a leading
// "label:". Two objects whose OurKeys are equal ask for the same.
func OurKeys(annotations, labels map[string]string) map[string]string {
	ours := map[string]string{}
	for key, value := range annotations {
		if isOurs(key) {
			ours[key] = value
		}
	}
	for key, value := range labels {
		if isOurs(key) {
			ours["label:"+key] = value
		}
	}
	return ours
}

// isOurs takes the prefix in any case: Kubernetes compares it as it is written, so
// that Mtls.sallyport.dev/mode is a key of its own which nobody else would read.
func isOurs(key string) bool {
	return len(key) >= len(Prefix) && strings.EqualFold(key[:len(Prefix)], Prefix)
}

func annotation(key string) *field.Path { return keyPath("annotations", key) }

func label(key string) *field.Path { return keyPath("labels", key) }

// keyPath is the path of a key. A key that nobody knows is its author's invention, and a
// path is not quoted by whoever prints it: the name part of a key is any text until
// the API server's validation, which comes after us.
func keyPath(of, key string) *field.Path {
	key = shown(key)
	if quoted := strconv.QuoteToASCII(key); quoted != `"`+key+`"` {
		key = quoted
	}
	return field.NewPath("metadata", of).Key(key)
}

// maxShown bounds how much of a value an error repeats, in bytes.
const maxShown = 64

// shown is a value as an error repeats it; the error quotes it. No value has letters
// beyond ASCII, and some look like those it has: they are named, or a person would
// read that "mutual" is not supported and "mutual" is.
func shown(value string) string {
	if len(value) > maxShown {
		value = strings.ToValidUTF8(value[:maxShown], "") + "..."
	}
	var out strings.Builder
	for _, r := range value {
		if r > unicode.MaxASCII && unicode.IsPrint(r) {
			fmt.Fprintf(&out, "<%U>", r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}
