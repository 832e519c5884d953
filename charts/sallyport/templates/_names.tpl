{{/* Labels of every object. Helm's own labels only: ours live under mtls.sallyport.dev/ and are the agent's. */}}
{{- define "sallyport.labels" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The image both Deployments run; the binary is chosen by command. */}}
{{- define "sallyport.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The user name the API server gives requests of the agent. */}}
{{- define "sallyport.agentUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:sallyport-agent
{{- end }}

{{/* The namespaces of the ingresses, each once, as a JSON list. */}}
{{- define "sallyport.ingressNamespaces" -}}
{{- $all := list -}}
{{- range .Values.ingresses }}{{ $all = append $all .namespace }}{{ end -}}
{{- $all | uniq | sortAlpha | toJson -}}
{{- end }}
