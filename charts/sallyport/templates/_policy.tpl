{{/*
What a MutualTLSPolicy demands, judged by the API server on every write of a Gateway or an APIRule that changes its spec or
our keys. The policies are fixed, one for each action and kind: the MutualTLSPolicies are their parameters, so nobody but who
installs the chart needs the right to write admission policies. pkg/policy says the same in Go, and a test holds the two
against each other.

The cheap questions come first, as one match condition (the API server evaluates all of several): most MutualTLSPolicies are
about others, and most objects meet them. What is asked for here again is answered as it is below, of an object that shows by
itself that it meets all demands; of which the agent found nothing, or it belongs into the audit log.
*/}}
{{- define "sallyport.policy.match" -}}
- name: is-about-it
  expression: >-
    params.spec.action == '{{ .action }}'
    && (!has(params.spec.match.namespaces) || size(params.spec.match.namespaces) == 0 || request.namespace in params.spec.match.namespaces)
    && !(!has(params.spec.require.authorities) && has(object.metadata.name) && has(object.spec)
    && (!has(params.spec.require.mode) || (has(object.metadata.annotations) && 'mtls.sallyport.dev/mode' in object.metadata.annotations
    && (object.metadata.annotations['mtls.sallyport.dev/mode'] == 'mutual' || (params.spec.require.mode == 'Optional' && object.metadata.annotations['mtls.sallyport.dev/mode'] == 'optional'))))
    && {{ .meets }}
    && (!has(params.status) || !has(params.status.violations)
    || !params.status.violations.exists(v, v.kind == '{{ .kind }}' && v.namespace == request.namespace && v.name == object.metadata.name)))
{{- end }}

{{/* What of the object any of the others may ask for; those of a kind come next, and then these of the MutualTLSPolicy. */}}
{{- define "sallyport.policy.object" -}}
{{ include "sallyport.backstop.keys" . }}
- name: namespaceLabels
  expression: "namespaceObject != null && has(namespaceObject.metadata.labels) ? namespaceObject.metadata.labels : {}"
- name: name
  expression: "has(object.metadata.name) ? object.metadata.name : ''"
{{- end }}

{{- define "sallyport.policy.variables" -}}
- name: ended
  expression: "has(params.status) && has(params.status.endedExceptions) ? params.status.endedExceptions : []"
# A managed Gateway goes with the APIRule that it was made for: its marks are written by the agent only.
- name: excepted
  expression: >-
    has(params.spec.exceptions) && params.spec.exceptions.exists(e, e.namespace == request.namespace
    && ((e.kind == '{{ .kind }}' && e.name == variables.name){{ if eq .kind "Gateway" }} || (e.kind == 'APIRule'
    && 'mtls.sallyport.dev/managed' in variables.labels && variables.labels['mtls.sallyport.dev/managed'] == 'true'
    && 'mtls.sallyport.dev/owner' in variables.annotations
    && variables.annotations['mtls.sallyport.dev/owner'].startsWith('APIRule/' + e.namespace + '/' + e.name + '/')){{ end }})
    && !variables.ended.exists(x, x.kind == e.kind && x.namespace == e.namespace && x.name == e.name))
- name: inNamespace
  expression: "!has(params.spec.match.namespaceLabels) || params.spec.match.namespaceLabels.all(k, k in variables.namespaceLabels && variables.namespaceLabels[k] == params.spec.match.namespaceLabels[k])"
# Canonical: without what chooses VirtualServices, the trailing dot, and upper case, and with a dot before it; a list of them for
# each server.
- name: hosts
  expression: >-
    variables.rawHosts.map(l, l.map(h, h.contains('/') ? h.substring(h.indexOf('/') + 1) : h).map(h, (h.endsWith('.') ? h.substring(0, size(h) - 1) : h).lowerAscii())
    {{- if eq .kind "APIRule" }}.filter(h, h.contains('.')){{ end }}.map(h, '.' + h))
# On the boundary of a label; and a wildcard that covers such a name, which would be the way around. More hosts than can be looked
# at within the API server's bounds are taken to be such names (pkg/policy MaxHosts).
- name: hasHost
  expression: >-
    !has(params.spec.match.hostSuffixes) || size(params.spec.match.hostSuffixes) == 0 || {{ if eq .kind "APIRule" }}variables.hidesHosts || {{ end }}variables.rawHosts.map(l, size(l)).sum() > 1000
    || params.spec.match.hostSuffixes.map(s, '.' + s).exists(s,
    variables.hosts.exists(l, l.exists(h, h.endsWith(s) || (h.startsWith('.*') && s.endsWith(h.substring(2))))))
- name: judged
  expression: "variables.inNamespace && variables.selected && !variables.excepted && variables.hasHost && !variables.unchanged"
- name: mode
  expression: >-
    'mtls.sallyport.dev/mode' in variables.annotations ? variables.annotations['mtls.sallyport.dev/mode']
    : 'mtls.sallyport.dev/default-mode' in variables.namespaceLabels ? variables.namespaceLabels['mtls.sallyport.dev/default-mode'] : ''
- name: used
  expression: >-
    'mtls.sallyport.dev/authorities' in variables.annotations
    ? variables.annotations['mtls.sallyport.dev/authorities'].split(',').map(a, a.trim()).map(a, a.contains('/') ? a : request.namespace + '/' + a)
    : [{{ with .root.Values.defaultAuthority }}'{{ . }}'{{ else }}request.namespace + '/default'{{ end }}]
- name: exception
  expression: "'or ask for an exception in MutualTLSPolicy ' + params.metadata.name"
{{- end }}

{{/* What both kinds are held to; .opens says which of them the mode is asked of. */}}
{{- define "sallyport.policy.rules" -}}
- expression: >-
    !variables.judged || !has(params.spec.require.mode) || !({{ .opens }})
    || variables.mode == 'mutual' || (params.spec.require.mode == 'Optional' && variables.mode == 'optional')
  messageExpression: >-
    !variables.judged || !has(params.spec.require.mode) ? '' :
    'metadata.annotations[mtls.sallyport.dev/mode]: MutualTLSPolicy ' + params.metadata.name + ' demands ' + params.spec.require.mode.lowerAscii()
    + (variables.mode == '' ? ', and nothing asks for it' : ', and something else is asked for') + ': write mtls.sallyport.dev/mode: ' + params.spec.require.mode.lowerAscii() + ', ' + variables.exception
- expression: >-
    !variables.judged || !has(params.spec.require.authorities) || size(params.spec.require.authorities) == 0 || !(variables.mode in ['mutual', 'optional'])
    || variables.used.all(a, params.spec.require.authorities.exists(r, r.namespace + '/' + r.name == a))
  messageExpression: >-
    !variables.judged || !has(params.spec.require.authorities) ? '' :
    'metadata.annotations[mtls.sallyport.dev/authorities]: MutualTLSPolicy ' + params.metadata.name + ' lists '
    + params.spec.require.authorities.filter(r, params.spec.require.authorities.indexOf(r) < 5).map(r, r.namespace + '/' + r.name).join(', ')
    + (size(params.spec.require.authorities) > 5 ? ' and others' : '') + ', and callers of another authority are accepted: name one of those, ' + variables.exception
{{- end }}

{{/* One admission policy with its binding; called with dict "root" "kind" "action" "group" "versions" "resource" "variables" "rules" "meets" (an
expression without variables: whether the object meets what this kind is held to, if that can be told quickly). */}}
{{- define "sallyport.policy" -}}
{{- $name := printf "sallyport-policy-%s-%s" (lower .action) (lower .kind) -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
    {{- include "sallyport.labels" .root | nindent 4 }}
spec:
  # A mistake in what only warns or notes stops nobody.
  failurePolicy: {{ eq .action "Deny" | ternary "Fail" "Ignore" }}
  paramKind:
    apiVersion: mtls.sallyport.dev/v1alpha1
    kind: MutualTLSPolicy
  matchConstraints:
    matchPolicy: Equivalent
    resourceRules:
      - apiGroups: [{{ .group }}]
        apiVersions: {{ .versions | toJson }}
        resources: [{{ .resource }}]
        operations: [CREATE, UPDATE]
  matchConditions:
    {{- include "sallyport.policy.match" . | nindent 4 }}
  variables:
    {{- include "sallyport.policy.object" . | nindent 4 }}
    {{- .variables | nindent 4 }}
    {{- include "sallyport.policy.variables" . | nindent 4 }}
  validations:
    {{- include "sallyport.policy.rules" . | nindent 4 }}
    {{- .rules | nindent 4 }}
  # What the agent found of the object that is written, which admission cannot see.
  auditAnnotations:
    - key: findings
      valueExpression: >-
        has(params.status) && has(params.status.violations)
        && params.status.violations.exists(v, v.kind == '{{ .kind }}' && v.namespace == request.namespace && v.name == variables.name)
        ? params.metadata.name + ': ' + params.status.violations.filter(v, v.kind == '{{ .kind }}' && v.namespace == request.namespace && v.name == variables.name)
        .map(v, v.reason + ' at ' + v.field).join(', ') : ''
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "sallyport.labels" .root | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: {{ eq .action "Audit" | ternary (list "Audit") (list .action "Audit") | toJson }}
  paramRef:
    # What is labelled with another action need not be asked for it.
    selector:
      matchExpressions:
        - {key: mtls.sallyport.dev/action, operator: NotIn, values: {{ without (list "Deny" "Warn" "Audit") .action | toJson }}}
    parameterNotFoundAction: Allow
{{- end }}
