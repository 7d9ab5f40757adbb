{{/* A section that was left empty in a values file is null: it becomes what it was meant to be. Every
     template starts with this. */}}
{{- define "rookery-operator.sections" -}}
{{- range list "resources" "serviceMonitor" "prometheusRule" "kedaScaler" -}}
{{- if kindIs "invalid" (index $.Values .) -}}
{{- $_ := set $.Values . dict -}}
{{- end -}}
{{- end -}}
{{- range list "image" "crd" "metricsApi" "allow" "networkPolicy" "dashboards" -}}
{{- if kindIs "invalid" (index $.Values .) -}}
{{- fail (printf "`%s` is empty: leave it out, or write what is to be under it" .) -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Values "watchNamespaces" (.Values.watchNamespaces | default list | uniq) -}}
{{- end -}}

{{/* Name of every object of the release. */}}
{{- define "rookery-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "rookery-operator" .Release.Name -}}
{{ .Release.Name }}
{{- else -}}
{{ printf "%s-rookery-operator" .Release.Name | trunc 56 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* The image, with its digest where there is one. */}}
{{- define "rookery-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What selects the operator's pods. */}}
{{- define "rookery-operator.selector" -}}
app.kubernetes.io/name: rookery
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "rookery-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: rookery
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Requests and limits; a quantity that was written as a number becomes the text it stands for. */}}
{{- define "rookery-operator.resources" -}}
{{- $resources := deepCopy . -}}
{{- range $kind := list "requests" "limits" -}}
{{- range $name, $quantity := (index $resources $kind) -}}
{{- $_ := set (index $resources $kind) $name (toString $quantity) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* The operator, as a subject of bindings. */}}
{{- define "rookery-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "rookery-operator.fullname" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
