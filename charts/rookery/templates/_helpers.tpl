{{/* A section that was left empty in a values file is null: it becomes what it was meant to be. Every
     template starts with this. */}}
{{- define "rookery.sections" -}}
{{- range list "replicas" "autoscaling" "ingress" "service" "redis" "config" "drain" "rollout" "rebalance" "resources" "podTemplate" "monitoring" "networkPolicy" "tests" "operator" "crd" -}}
{{- if kindIs "invalid" (index $.Values .) -}}
{{- $_ := set $.Values . dict -}}
{{- end -}}
{{- end -}}
{{- range list "image" "rookery" "dashboards" -}}
{{- if kindIs "invalid" (index $.Values .) -}}
{{- fail (printf "`%s` is empty: leave it out, or write what is to be under it" .) -}}
{{- end -}}
{{- end -}}
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

{{/* Whether the pods run as the image's user, and not as one that the cluster assigns: "true" or nothing. */}}
{{- define "rookery.hasFixedUser" -}}
{{- $asked := .Values.podTemplate.fixedUser -}}
{{- if kindIs "bool" $asked -}}
{{- if $asked -}}true{{- end -}}
{{- else if ne (toString .Values.fixedUser) "false" -}}true
{{- end -}}
{{- end -}}

{{/* Security context of every pod: the Pod Security Standard "restricted". */}}
{{- define "rookery.podSecurity" -}}
runAsNonRoot: true
{{- if include "rookery.hasFixedUser" . }}
runAsUser: 65532
runAsGroup: 65532
{{- end }}
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
{{- if or .Values.redis.demo .Values.redis.url .Values.redis.urlSecret .Values.redis.host (dig "redis" "url" "" .Values.config) (dig "redis" "addresses" "" .Values.config) -}}
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
http://{{ .Release.Name }}.{{ .Release.Namespace }}.svc{{ with .Values.service.port }}:{{ int . }}{{ end }}
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

{{/* Whether the values say that this release has no operator, as older versions of the chart needed it. */}}
{{- define "rookery.saysNoOperator" -}}
{{- if hasKey .Values.operator "enabled" -}}
{{- if and (kindIs "bool" .Values.operator.enabled) (not .Values.operator.enabled) -}}true{{- end -}}
{{- end -}}
{{- end -}}
