{{/*
The backstop: what the API server itself refuses, whoever is down. It judges the object that is about to be stored, after
every webhook, on CREATE and UPDATE only, so that deletion and garbage collection never hang. An update that leaves spec
and our keys unchanged passes always.

The expressions below are shared by the policies of Gateways and APIRules.
*/}}

{{/* Annotations and labels of the new and the old object, and whether the write changes anything that is judged. */}}
{{- define "sallyport.backstop.keys" -}}
- name: annotations
  expression: "has(object.metadata.annotations) ? object.metadata.annotations : {}"
- name: oldAnnotations
  expression: "oldObject != null && has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}"
- name: labels
  expression: "has(object.metadata.labels) ? object.metadata.labels : {}"
- name: oldLabels
  expression: "oldObject != null && has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}"
- name: sameKeys
  expression: >-
    oldObject != null
    && variables.annotations.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/') || (k in variables.oldAnnotations && variables.oldAnnotations[k] == variables.annotations[k]))
    && variables.oldAnnotations.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/') || k in variables.annotations)
    && variables.labels.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/') || (k in variables.oldLabels && variables.oldLabels[k] == variables.labels[k]))
    && variables.oldLabels.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/') || k in variables.labels)
# Kyma keeps the spec of an old APIRule in the second of these annotations, and the first says so.
- name: sameSpec
  expression: >-
    oldObject != null && has(object.spec) == has(oldObject.spec) && (!has(object.spec) || object.spec == oldObject.spec)
    && ['gateway.kyma-project.io/original-version', 'gateway.kyma-project.io/v1beta1-spec'].all(k, (k in variables.annotations) == (k in variables.oldAnnotations)
    && (!(k in variables.annotations) || variables.annotations[k] == variables.oldAnnotations[k]))
- name: unchanged
  expression: "variables.sameSpec && variables.sameKeys"
{{- end }}

{{/* The mode that is in force, and whether the write is judged. */}}
{{- define "sallyport.backstop.variables" -}}
{{ include "sallyport.backstop.keys" . }}
- name: defaultMode
  expression: "namespaceObject != null && has(namespaceObject.metadata.labels) && 'mtls.sallyport.dev/default-mode' in namespaceObject.metadata.labels ? namespaceObject.metadata.labels['mtls.sallyport.dev/default-mode'] : ''"
- name: stated
  expression: "'mtls.sallyport.dev/mode' in variables.annotations"
- name: before
  expression: "'mtls.sallyport.dev/mode' in variables.oldAnnotations && variables.oldAnnotations['mtls.sallyport.dev/mode'] in ['mutual', 'optional'] ? variables.oldAnnotations['mtls.sallyport.dev/mode'] : ''"
# Whose word counts: the new object's, else its Namespace's, else the old object's, so that opting out and opening up are
# two writes. The settings are those of whoever opts in.
- name: asking
  expression: "variables.stated || variables.defaultMode != '' || variables.before == '' ? variables.annotations : variables.oldAnnotations"
- name: mode
  expression: "variables.stated ? variables.annotations['mtls.sallyport.dev/mode'] : variables.defaultMode != '' ? variables.defaultMode : variables.before"
- name: agent
  expression: "request.userInfo.username == {{ include "sallyport.agentUser" . | squote }}"
- name: judged
  expression: "variables.mode in ['mutual', 'optional'] && !variables.unchanged"
{{- end }}

{{/* A Namespace that was labelled before the chart was installed: nobody knows what it asks for. */}}
{{- define "sallyport.backstop.defaultMode" -}}
- expression: "variables.stated || variables.defaultMode in ['', 'mutual', 'optional'] || variables.unchanged"
  message: "the label mtls.sallyport.dev/default-mode of the Namespace takes mutual or optional, spelt exactly so: correct it, or annotate the object with mtls.sallyport.dev/mode"
{{- end }}

{{/* Metadata and everything but the expressions of one policy with its binding; called with dict "root" "name". */}}
{{- define "sallyport.backstop.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "sallyport.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* The annotations that the agent alone writes. */}}
{{- define "sallyport.backstop.own" -}}
['mtls.sallyport.dev/owner', 'mtls.sallyport.dev/unreferenced-since', 'mtls.sallyport.dev/taken-over']
{{- end }}

{{/* The annotations that take one of a few values, as JSON. */}}
{{- define "sallyport.backstop.values" -}}
{{- $values := dict "mode" (list "mutual" "optional" "disabled") "server-certificate" (list "issued" "provided") "min-tls" (list "TLSv1.2" "TLSv1.3") "key-algorithm" (list "ECDSA-P256" "ECDSA-P384" "RSA-2048" "RSA-3072" "RSA-4096") -}}
{{- $named := dict }}
{{- range $key, $allowed := $values }}
{{- $_ := set $named (printf "mtls.sallyport.dev/%s" $key) $allowed }}
{{- end }}
{{- $named | toJson }}
{{- end }}

{{/* The closed grammar; called with dict "root" "kind" "keys" (of that kind) "v1beta1Headers" (expression). */}}
{{- define "sallyport.backstop.grammar" -}}
{{- $own := include "sallyport.backstop.own" . -}}
- expression: "variables.unchanged || variables.annotations.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/') || k in {{ .keys | toJson | replace "\"" "'" }} || k in {{ $own }})"
  messageExpression: "'unknown annotation ' + variables.annotations.filter(k, k.lowerAscii().startsWith('mtls.sallyport.dev/') && !(k in {{ .keys | toJson | replace "\"" "'" }} || k in {{ $own }}))[0] + ' on kind {{ .kind }}: nobody reads it; docs/annotations.md lists the keys'"
- expression: "variables.unchanged || variables.agent || variables.labels.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/') || (k in variables.oldLabels && variables.oldLabels[k] == variables.labels[k]))"
  message: "labels under mtls.sallyport.dev/ are written by the agent only; settings are annotations"
- expression: "variables.unchanged || variables.agent || {{ $own }}.all(k, (k in variables.annotations) == (k in variables.oldAnnotations) && (!(k in variables.annotations) || variables.annotations[k] == variables.oldAnnotations[k]))"
  message: "the annotations owner, unreferenced-since and taken-over under mtls.sallyport.dev/ are written by the agent only"
- expression: "variables.unchanged || variables.agent || oldObject == null || !('mtls.sallyport.dev/managed' in variables.oldLabels) || 'mtls.sallyport.dev/managed' in variables.labels"
  message: "the label mtls.sallyport.dev/managed is taken away by the agent only"
{{- range $key, $allowed := include "sallyport.backstop.values" . | fromJson }}
- expression: "variables.unchanged || !('{{ $key }}' in variables.annotations) || variables.annotations['{{ $key }}'] in {{ $allowed | toJson | replace "\"" "'" }}"
  message: "{{ $key }} takes {{ join ", " $allowed }}, spelt exactly so"
{{- end }}
{{- $authority := " *([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])? *" }}
- expression: >-
    variables.unchanged || !('mtls.sallyport.dev/authorities' in variables.annotations)
    || (variables.annotations['mtls.sallyport.dev/authorities'].matches('^{{ $authority }}(,{{ $authority }}){0,3}$')
    && [variables.annotations['mtls.sallyport.dev/authorities'].split(',').map(a, a.trim()).map(a, a.contains('/') ? a : request.namespace + '/' + a)].all(l, l.all(a, l.exists_one(o, o == a))))
  message: "mtls.sallyport.dev/authorities takes up to 4 CertificateAuthorities, each once, <name> or <namespace>/<name>, separated by commas"
- expression: "variables.unchanged || !('mtls.sallyport.dev/certificate-lifetime' in variables.annotations) || (variables.annotations['mtls.sallyport.dev/certificate-lifetime'].matches('^([0-9]{1,9}([.][0-9]{1,9})?(h|m|s|ms|us|ns)){1,6}$') && duration(variables.annotations['mtls.sallyport.dev/certificate-lifetime']) >= duration('60s'))"
  message: "mtls.sallyport.dev/certificate-lifetime takes a duration of at least a minute, such as 720h"
- expression: >-
    variables.unchanged || !('mtls.sallyport.dev/allowed-clients' in variables.annotations)
    || (variables.annotations['mtls.sallyport.dev/allowed-clients'].matches('^ *[-a-zA-Z0-9._/:]+ *(, *[-a-zA-Z0-9._/:]+ *){0,63}$')
    && variables.annotations['mtls.sallyport.dev/allowed-clients'].split(',').map(c, c.trim()).all(c,
    c.matches('^(client/[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*|spiffe://[-a-z0-9._]+(/[-a-zA-Z0-9._]+)+|[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$')
    && c.split('/').all(part, !(part in ['.', '..']))))
  message: "mtls.sallyport.dev/allowed-clients takes up to 64 of client/<name>, spiffe://<trust domain>/<path> and exact DNS names, separated by commas"
- expression: "variables.unchanged || variables.stated || variables.defaultMode != '' || variables.annotations.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/') || k in {{ $own }})"
  message: "annotations under mtls.sallyport.dev/ say how, but nothing says that: add mtls.sallyport.dev/mode, or disabled to keep it off"
{{- end }}

{{/*
Whether a Map of annotations or labels (an expression) has a key of ours, which is cheap.
*/}}
{{- define "sallyport.carries" -}}
(has({{ . }}) && {{ . }}.exists(k, k.lowerAscii().startsWith('mtls.sallyport.dev/')))
{{- end }}

{{/*
Which objects the grammar concerns at all: those that carry our keys, but for those that say with the commonest of them what is
plainly right. Called with dict "mine" (an expression: whether somebody may write it).
*/}}
{{- define "sallyport.backstop.concerns" -}}
{{- $annotations := "object.metadata.annotations" }}
- name: carries-our-keys
  expression: >-
    has({{ $annotations }}) && 'mtls.sallyport.dev/mode' in {{ $annotations }}
    ? !({{ $annotations }}.all(k, !k.lowerAscii().startsWith('mtls.sallyport.dev/')
    || (k in {{ include "sallyport.backstop.values" . | fromJson | toJson | replace "\"" "'" }} && {{ $annotations }}[k] in {{ include "sallyport.backstop.values" . | fromJson | toJson | replace "\"" "'" }}[k]))
    && !{{ include "sallyport.carries" "object.metadata.labels" }}
    && (oldObject == null || (!{{ include "sallyport.carries" "oldObject.metadata.labels" }}
    && (!has(oldObject.metadata.annotations) || !{{ include "sallyport.backstop.own" . }}.exists(k, k in oldObject.metadata.annotations))))
    {{- with .mine }} && ({{ . }}){{ end }})
    : ({{ include "sallyport.carries" $annotations }} || {{ include "sallyport.carries" "object.metadata.labels" }}
    || (oldObject != null && ({{ include "sallyport.carries" "oldObject.metadata.annotations" }} || {{ include "sallyport.carries" "oldObject.metadata.labels" }})))
{{- end }}
