{{/* A section that was left empty in a values file is null: it becomes what it was meant to be. Every
     template starts with this. */}}
{{- define "rookery.sections" -}}
{{- range list "replicas" "autoscaling" "ingress" "service" "redis" "config" "drain" "resources" "podTemplate" "monitoring" "networkPolicy" "tests" -}}
{{- if kindIs "invalid" (index $.Values .) -}}
{{- $_ := set $.Values . dict -}}
{{- end -}}
{{- end -}}
{{- range list "image" "rookery" "operator" "crd" "dashboards" -}}
{{- if kindIs "invalid" (index $.Values .) -}}
{{- fail (printf "`%s` is empty: leave it out, or write what is to be under it" .) -}}
{{- end -}}
{{- end -}}
{{- if kindIs "invalid" .Values.operator.networkPolicy -}}
{{- fail "`operator.networkPolicy` is empty: leave it out, or write what is to be under it" -}}
{{- end -}}
{{- range list "serviceMonitor" "prometheusRule" -}}
{{- if kindIs "invalid" (index $.Values.operator .) -}}
{{- $_ := set $.Values.operator . dict -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Values.operator "watchNamespaces" (.Values.operator.watchNamespaces | default list | uniq) -}}
{{- /* What is null is not there. */ -}}
{{- range $section := list .Values.ingress .Values.config (.Values.config.auth | default dict) -}}
{{- range $key, $value := $section -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $section $key -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The image, with its digest where there is one. */}}
{{- define "rookery.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "rookery.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: rookery
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What selects the operator's pods. */}}
{{- define "rookery.operator.selector" -}}
app.kubernetes.io/name: rookery
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of the operator's objects. */}}
{{- define "rookery.operator.labels" -}}
{{ include "rookery.labels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Security context of every pod: the Pod Security Standard "restricted". */}}
{{- define "rookery.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* And of every container. */}}
{{- define "rookery.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The container's image and when it is pulled. */}}
{{- define "rookery.containerImage" -}}
image: {{ include "rookery.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end -}}

{{/* Whether the release has an Ingress: "true" or nothing. */}}
{{- define "rookery.hasIngress" -}}
{{- if kindIs "bool" .Values.ingress.enabled -}}
{{- if .Values.ingress.enabled -}}true{{- end -}}
{{- else if or .Values.ingress.host .Values.ingress.hosts -}}true
{{- end -}}
{{- end -}}

{{/* Whether the release has a Redis: "true" or nothing. */}}
{{- define "rookery.hasRedis" -}}
{{- if or .Values.redis.demo .Values.redis.url .Values.redis.urlSecret .Values.redis.host (dig "redis" "url" "" .Values.config) -}}
true
{{- end -}}
{{- end -}}

{{/* Whether clients without a token are let in: "true" or nothing. */}}
{{- define "rookery.isAnonymous" -}}
{{- $auth := dig "auth" (dict) .Values.config -}}
{{- if hasKey $auth "anonymous" -}}
{{- if $auth.anonymous -}}true{{- end -}}
{{- else if and .Values.anonymous (not (hasKey $auth "jwt")) -}}
true
{{- end -}}
{{- end -}}

{{/* The URL that clients use; of the Service where there is no Ingress. */}}
{{- define "rookery.url" -}}
{{- if .Values.tests.url -}}
{{ .Values.tests.url }}
{{- else if include "rookery.hasIngress" . -}}
{{- $scheme := ternary "https" "http" (hasKey .Values.ingress "tls") -}}
{{ $scheme }}://{{ .Values.ingress.host | default (.Values.tests.ingressAddress | default "localhost") }}
{{- else -}}
http://{{ .Release.Name }}.{{ .Release.Namespace }}.svc
{{- end -}}
{{- end -}}

{{/* Requests and limits; a quantity that was written as a number becomes the text it stands for. */}}
{{- define "rookery.resources" -}}
{{- $resources := deepCopy . -}}
{{- range $kind := list "requests" "limits" -}}
{{- range $name, $quantity := (index $resources $kind) -}}
{{- $_ := set (index $resources $kind) $name (toString $quantity) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* How the API server is reached; without ports, it is not. */}}
{{- define "rookery.operator.apiServerEgress" -}}
{{- with .Values.operator.networkPolicy.apiServerPorts -}}
# The API server.
- ports:
    {{- range . }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{ end -}}
# DNS.
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}

{{/* The operator, as a subject of bindings. */}}
{{- define "rookery.operator.subject" -}}
- kind: ServiceAccount
  name: rookery-operator
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
