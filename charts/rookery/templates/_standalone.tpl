{{/* The objects of a release without an operator (rookery.standalone). They mirror
     crates/operator/src/build, file by file, and take their input from `rookery.resolved`, which mirrors
     crates/operator/src/validate. tests/standalone.rs compares both with many values. */}}

{{/* Whether the chart renders the service's objects itself: "true" or nothing. */}}
{{- define "rookery.isStandalone" -}}
{{- if and .Values.rookery.enabled .Values.rookery.standalone -}}true{{- end -}}
{{- end -}}

{{/* What the objects are made of, in JSON: the resource's `spec` and what follows from it. */}}
{{- define "rookery.resolved" -}}
{{- $spec := include "rookery.spec" . | fromYaml -}}
{{- $config := include "rookery.config" $spec | fromJson -}}
{{- $drain := $config.drain -}}
{{- $drainSeconds := divf (add (include "rookery.nanoseconds" $drain.lead | int64) (include "rookery.nanoseconds" $drain.window | int64)) 1000000000 | ceil | int64 -}}
{{- $monitoring := $spec.monitoring | default dict -}}
{{- $podMonitor := and $monitoring.podMonitor (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor") -}}
{{- $serviceMonitor := and (dig "serviceMonitor" true $monitoring) (not $monitoring.podMonitor) (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor") -}}
{{- $selector := dict "app.kubernetes.io/name" "rookery" "app.kubernetes.io/instance" .Release.Name "app.kubernetes.io/component" "server" -}}
{{- $replicas := include "rookery.replicas" $spec | fromJson -}}
{{- $cookie := "" -}}
{{- if include "rookery.isSticky" $spec -}}
{{- $cookie = $drain.stickyCookie | default "" -}}
{{- end -}}
{{- dict
    "name" .Release.Name
    "namespace" .Release.Namespace
    "image" $spec.image
    "spec" $spec
    "config" $config
    "isStandalone" (not (not (include "rookery.isStandalone" .)))
    "isDemo" (not (not .Values.redis.demo))
    "keda" (.Values.autoscaling.keda | default dict)
    "sessionPersistence" (not (not (include "rookery.hasSessionPersistence" .)))
    "restartConfig" (omit $config "rooms" "limits")
    "minReplicas" $replicas.min
    "maxReplicas" $replicas.max
    "drainSeconds" $drainSeconds
    "longestDrainSeconds" (include "rookery.longestDrainSeconds" $config | int64)
    "rollout" (include "rookery.rollout" (dict "spec" $spec "config" $config "most" $replicas.max) | fromJson)
    "podMonitor" (not (not $podMonitor))
    "serviceMonitor" (not (not $serviceMonitor))
    "clientServicePort" (dig "service" "port" 80 $spec | default 80 | int)
    "clientPort" (regexFind "[0-9]+$" $config.listen | int)
    "internalPort" (regexFind "[0-9]+$" $config.internal | int)
    "stickyCookie" $cookie
    "selector" $selector
    "labels" (merge (dict "app.kubernetes.io/managed-by" .Release.Service) $selector)
    "chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
  | toJson -}}
{{- end -}}

{{/* The servers' configuration, in JSON: what was written, and what a server in a pod needs. */}}
{{- define "rookery.config" -}}
{{- $config := deepCopy (.config | default dict) -}}
{{- $drain := $config.drain | default dict -}}
{{- $asked := .drain | default dict -}}
{{- range $key, $default := dict "lead" "5s" "window" "30s" -}}
{{- with get $asked $key -}}
{{- $_ := set $drain $key (include "rookery.period" (include "rookery.nanoseconds" .)) -}}
{{- end -}}
{{- include "rookery.default" (list $drain $key $default) -}}
{{- end -}}
{{- include "rookery.default" (list $drain "keepReady" true) -}}
{{- $hasRedis := or .redis (kindIs "map" $config.redis) -}}
{{- if $hasRedis -}}
{{- include "rookery.completeRollout" (dict "spec" . "drain" $drain) -}}
{{- end -}}
{{- if include "rookery.isSticky" . -}}
{{- include "rookery.default" (list $drain "stickyCookie" "rookery") -}}
{{- end -}}
{{- $_ := set $config "drain" $drain -}}
{{- if $hasRedis -}}
{{- include "rookery.completeRebalance" (dict "asked" (.rebalance | default dict) "config" $config) -}}
{{- end -}}
{{- with .redis -}}
{{- $redis := dict -}}
{{- with include "rookery.redisUrl" . -}}
{{- $_ := set $redis "url" . -}}
{{- end -}}
{{- with .username -}}
{{- $_ := set $redis "username" . -}}
{{- end -}}
{{- if .passwordSecret -}}
{{- $_ := set $redis "passwordFile" "/etc/rookery-redis/password/password" -}}
{{- end -}}
{{- if .caSecret -}}
{{- $_ := set $redis "tls" (dict "caFile" "/etc/rookery-redis/ca/ca.crt") -}}
{{- end -}}
{{- if $redis -}}
{{- $_ := set $config "redis" (mergeOverwrite ($config.redis | default dict) $redis) -}}
{{- end -}}
{{- end -}}
{{- include "rookery.default" (list $config "listen" "0.0.0.0:3000") -}}
{{- include "rookery.default" (list $config "internal" "0.0.0.0:9090") -}}
{{- toJson $config -}}
{{- end -}}

{{/* Whether the route asks for session persistence: "true" or nothing. The field is in the experimental channel of the
     Gateway API, which also has a group of its own; the definition itself may not be looked at. */}}
{{- define "rookery.hasSessionPersistence" -}}
{{- $asked := (.Values.gateway | default dict).sessionPersistence -}}
{{- if kindIs "bool" $asked -}}
{{- if $asked -}}true{{- end -}}
{{- else if .Capabilities.APIVersions.Has "gateway.networking.x-k8s.io/v1alpha1" -}}true
{{- end -}}
{{- end -}}

{{/* Sets a key of a dict that is not set, or null: (list DICT KEY VALUE). */}}
{{- define "rookery.default" -}}
{{- if kindIs "invalid" (get (first .) (index . 1)) -}}
{{- $_ := set (first .) (index . 1) (last .) -}}
{{- else if not (hasKey (first .) (index . 1)) -}}
{{- $_ := set (first .) (index . 1) (last .) -}}
{{- end -}}
{{- end -}}

{{/* Whether the ingress or the gateway keeps a client at one server: "true" or nothing. */}}
{{- define "rookery.isSticky" -}}
{{- $ingress := and (kindIs "map" .ingress) (dig "sticky" true (.ingress | default dict)) -}}
{{- $gateway := and (kindIs "map" .gateway) (dig "sticky" true (.gateway | default dict)) -}}
{{- if or $ingress $gateway -}}true{{- end -}}
{{- end -}}

{{/* The smallest and the largest number of servers, in JSON: {min, max}. */}}
{{- define "rookery.replicas" -}}
{{- $hasRedis := or (kindIs "map" .redis) (kindIs "map" (.config | default dict).redis) -}}
{{- $least := ternary 2 1 $hasRedis -}}
{{- $most := ternary 10 1 $hasRedis -}}
{{- $asked := .replicas | default dict -}}
{{- $min := int ($asked.min | default (min $least ($asked.max | default $least))) -}}
{{- $max := int ($asked.max | default (max $most ($asked.min | default $most))) -}}
{{- dict "min" $min "max" $max | toJson -}}
{{- end -}}

{{/* A length of time such as `1m 30s` in nanoseconds. */}}
{{- define "rookery.nanoseconds" -}}
{{- $units := dict
    "ns" 1 "nsec" 1 "us" 1000 "usec" 1000 "ms" 1000000 "msec" 1000000
    "s" 1000000000 "sec" 1000000000 "secs" 1000000000 "second" 1000000000 "seconds" 1000000000
    "m" 60000000000 "min" 60000000000 "mins" 60000000000 "minute" 60000000000 "minutes" 60000000000
    "h" 3600000000000 "hr" 3600000000000 "hrs" 3600000000000 "hour" 3600000000000 "hours" 3600000000000
    "d" 86400000000000 "day" 86400000000000 "days" 86400000000000 -}}
{{- $total := int64 0 -}}
{{- range regexFindAll "[0-9]+ *[A-Za-z]+" (toString .) -1 -}}
{{- $unit := regexFind "[A-Za-z]+" . -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "`%s` is no unit of time: write a time such as 25s, 500ms or 1m 30s" $unit) -}}
{{- end -}}
{{- $total = add $total (mul (regexFind "[0-9]+" . | int64) (get $units $unit | int64)) -}}
{{- end -}}
{{- $total -}}
{{- end -}}

{{/* Nanoseconds as a length of time, as the servers write it: `1m 30s`. */}}
{{- define "rookery.period" -}}
{{- $rest := int64 (toString .) -}}
{{- $parts := list -}}
{{- $days := div $rest 86400000000000 -}}
{{- if $days -}}
{{- $parts = append $parts (printf "%d%s" $days (ternary "day" "days" (eq $days 1))) -}}
{{- $rest = mod $rest 86400000000000 -}}
{{- end -}}
{{- range list (list "h" 3600000000000) (list "m" 60000000000) (list "s" 1000000000) (list "ms" 1000000) (list "us" 1000) (list "ns" 1) -}}
{{- $count := div $rest (last . | int64) -}}
{{- if $count -}}
{{- $parts = append $parts (printf "%d%s" $count (first .)) -}}
{{- end -}}
{{- $rest = mod $rest (last . | int64) -}}
{{- end -}}
{{- join " " $parts | default "0s" -}}
{{- end -}}

{{/* A number as Kubernetes writes a quantity: 10000 is `10k`. */}}
{{- define "rookery.quantity" -}}
{{- $number := int64 . -}}
{{- if and $number (eq (mod $number 1000000000000) 0) -}}
{{ div $number 1000000000000 }}T
{{- else if and $number (eq (mod $number 1000000000) 0) -}}
{{ div $number 1000000000 }}G
{{- else if and $number (eq (mod $number 1000000) 0) -}}
{{ div $number 1000000 }}M
{{- else if and $number (eq (mod $number 1000) 0) -}}
{{ div $number 1000 }}k
{{- else -}}
{{ $number }}
{{- end -}}
{{- end -}}

{{/* The metadata of an object of the service: (dict "of" RESOLVED), and optionally its own `name`, more
     `labels`, and `annotations`. */}}
{{- define "rookery.metadata" -}}
{{- $labels := merge (dict "helm.sh/chart" .of.chart) .of.labels (.labels | default dict) -}}
metadata:
  name: {{ .name | default .of.name | quote }}
  namespace: {{ .of.namespace | quote }}
  labels:
    {{- toYaml $labels | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* How many servers the autoscaler wants, and how fast: `behavior` of a HorizontalPodAutoscaler, in JSON. */}}
{{- define "rookery.behavior" -}}
{{- $autoscaling := .spec.autoscaling | default dict -}}
{{- $period := min 1800 (max 1 (int64 .drainSeconds)) -}}
{{- $stabilization := div (include "rookery.nanoseconds" ($autoscaling.stabilization | default "5m") | int64) 1000000000 -}}
{{- $up := dict "selectPolicy" "Max" "stabilizationWindowSeconds" 0 "policies" (list
    (dict "type" "Percent" "value" 100 "periodSeconds" 15)
    (dict "type" "Pods" "value" 4 "periodSeconds" 15)) -}}
{{- $down := dict "selectPolicy" "Max" "stabilizationWindowSeconds" $stabilization "policies" (list
    (dict "type" "Pods" "value" 1 "periodSeconds" $period)) -}}
{{- $asked := $autoscaling.behavior | default dict -}}
{{- dict
    "scaleUp" (mergeOverwrite $up ($asked.scaleUp | default dict))
    "scaleDown" (mergeOverwrite $down ($asked.scaleDown | default dict))
  | toJson -}}
{{- end -}}

{{/* What NOTES.txt says of a release without an operator. */}}
{{- define "rookery.standaloneNotes" -}}
{{- $of := include "rookery.resolved" . | fromJson -}}
{{- $scaler := include "rookery.autoscaler" $of -}}
Without an operator there is no `Rookery` resource and no status; docs/install.md says what else differs.
{{- if eq $scaler "keda" }}
KEDA scales the pods by their connections, as Prometheus counts them:
  kubectl -n {{ .Release.Namespace }} get scaledobject {{ .Release.Name }}
{{- else if eq $scaler "connections" }}
The autoscaler follows `rookery_connections`, which another custom metrics server must provide:
  kubectl -n {{ .Release.Namespace }} describe hpa {{ .Release.Name }}
{{- else if eq $scaler "cpu" }}
The autoscaler follows the CPU alone. To follow connections, set autoscaling.keda.serverAddress or
  autoscaling.metrics=external.
{{- else if gt (int $of.maxReplicas) 1 }}
Nothing scales the pods: their number is replicas.min ({{ $of.minReplicas }}).
{{- end }}
{{- end -}}
