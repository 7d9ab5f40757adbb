{{/* The template of the servers' pods, of what `rookery.resolved` says; mirrors
     crates/operator/src/build/pod_template.rs. */}}
{{- define "rookery.podTemplate" -}}
{{- $more := .spec.podTemplate | default dict -}}
{{- $mode := include "rookery.fileMode" $more -}}
{{- $annotations := dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .internalPort) "prometheus.io/path" "/metrics" -}}
{{- $annotations = mergeOverwrite $annotations ($more.annotations | default dict) -}}
{{- /* `rooms` and `limits` are not in it: a running server applies them. */ -}}
{{- if or .podMonitor .serviceMonitor -}}
{{- /* A Prometheus with its operator is told of the pods otherwise, and must not scrape them twice. */ -}}
{{- range $key, $value := $annotations -}}
{{- if and (hasPrefix "prometheus.io/" $key) (ne $value "false") -}}
{{- $_ := unset $annotations $key -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $_ := set $annotations "rookery.dev/config-checksum" (toJson .restartConfig | sha256sum | trunc 32) -}}
metadata:
  # Not the chart's version: a new one is no reason to restart.
  labels:
    {{- toYaml (merge (dict) .labels ($more.labels | default dict)) | nindent 4 }}
  annotations:
    {{- toYaml $annotations | nindent 4 }}
spec:
  {{- if kindIs "map" $more.affinity }}
  affinity:
    {{- toYaml $more.affinity | nindent 4 }}
  {{- else if not (kindIs "slice" $more.topologySpreadConstraints) }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: topology.kubernetes.io/zone
            labelSelector:
              matchLabels:
                {{- toYaml .selector | nindent 16 }}
  {{- end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $more.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $more.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $more.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  securityContext:
    {{- include "rookery.serverSecurity" $more | nindent 4 }}
  serviceAccountName: {{ .name | quote }}
  # Beyond the drain: the last write to a stalled client, and the exit of the process.
  terminationGracePeriodSeconds: {{ add .longestDrainSeconds 15 }}
  {{- with $more.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- if kindIs "slice" $more.topologySpreadConstraints }}
    {{- toYaml $more.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      matchLabelKeys: [pod-template-hash]
      labelSelector:
        matchLabels:
          {{- toYaml .selector | nindent 10 }}
    {{- end }}
  {{- with $more.initContainers }}
  initContainers:
    {{- include "rookery.restricted" . | fromJsonArray | toYaml | nindent 4 }}
  {{- end }}
  containers:
    - {{- include "rookery.serverContainer" . | nindent 6 }}
    {{- with $more.sidecars }}
    {{- include "rookery.restricted" . | fromJsonArray | toYaml | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ .name | quote }}
        defaultMode: {{ $mode }}
    {{- range $i, $mount := .spec.secrets | default list }}
    - name: secret-{{ $i }}
      secret:
        secretName: {{ $mount.secretName | quote }}
        defaultMode: {{ $mode }}
    {{- end }}
    {{- range include "rookery.redisFiles" .spec | fromJsonArray }}
    - name: {{ .name }}
      secret:
        secretName: {{ .secret.name | quote }}
        defaultMode: {{ $mode }}
        items:
          - key: {{ .secret.key | quote }}
            path: {{ .path }}
    {{- end }}
    {{- with $more.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Containers with what the Pod Security Standard "restricted" asks of each, where they say nothing about it, in
     JSON. */}}
{{- define "rookery.restricted" -}}
{{- $all := list -}}
{{- range . -}}
{{- $container := deepCopy . -}}
{{- $context := $container.securityContext | default dict -}}
{{- include "rookery.default" (list $context "allowPrivilegeEscalation" false) -}}
{{- $capabilities := $context.capabilities | default dict -}}
{{- include "rookery.default" (list $capabilities "drop" (list "ALL")) -}}
{{- $_ := set $context "capabilities" $capabilities -}}
{{- $_ := set $container "securityContext" $context -}}
{{- $all = append $all $container -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* The files of `redis`, in JSON: volume, folder, Secret and path in the folder. */}}
{{- define "rookery.redisFiles" -}}
{{- $files := list -}}
{{- with (.redis | default dict).passwordSecret -}}
{{- $files = append $files (dict "name" "redis-password" "folder" "/etc/rookery-redis/password" "secret" . "path" "password") -}}
{{- end -}}
{{- with (.redis | default dict).caSecret -}}
{{- $files = append $files (dict "name" "redis-ca" "folder" "/etc/rookery-redis/ca" "secret" . "path" "ca.crt") -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* The mode of mounted files, of `podTemplate`: 0440, readable by the group of the fixed user; 0444 where the cluster
     chooses the user, who may be in no group of theirs. */}}
{{- define "rookery.fileMode" -}}
{{- ternary 288 292 (dig "fixedUser" true .) -}}
{{- end -}}

{{/* The security context of the servers' pods, of `podTemplate`. */}}
{{- define "rookery.serverSecurity" -}}
{{- if dig "fixedUser" true . -}}
fsGroup: 65532
runAsGroup: 65532
runAsUser: 65532
{{ end -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The servers' container. */}}
{{- define "rookery.serverContainer" -}}
{{- $more := .spec.podTemplate | default dict -}}
name: rookery
image: {{ .image | quote }}
{{- with $more.imagePullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
args: [serve, --config, /etc/rookery/rookery.yaml]
env:
  {{- include "rookery.serverEnv" . | nindent 2 }}
{{- with $more.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: client
    containerPort: {{ .clientPort }}
    protocol: TCP
  - name: internal
    containerPort: {{ .internalPort }}
    protocol: TCP
# Says why a server exits, in the pod's status.
terminationMessagePolicy: FallbackToLogsOnError
startupProbe:
  httpGet:
    path: /livez
    port: internal
  periodSeconds: 1
  failureThreshold: 60
  timeoutSeconds: 3
# A busy server must not be killed, because all of its clients would lose their connections.
livenessProbe:
  httpGet:
    path: /livez
    port: internal
  periodSeconds: 10
  failureThreshold: 6
  timeoutSeconds: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: internal
  periodSeconds: 2
  failureThreshold: 3
  timeoutSeconds: 3
resources:
  {{- with .spec.resources }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  requests:
    cpu: 100m
    memory: 128Mi
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: config
    mountPath: /etc/rookery
    readOnly: true
  {{- range $i, $mount := .spec.secrets | default list }}
  - name: secret-{{ $i }}
    mountPath: {{ $mount.mountPath | quote }}
    readOnly: true
  {{- end }}
  {{- range include "rookery.redisFiles" .spec | fromJsonArray }}
  - name: {{ .name }}
    mountPath: {{ .folder }}
    readOnly: true
  {{- end }}
  {{- with $more.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The environment variables of the servers' container. */}}
{{- define "rookery.serverEnv" -}}
{{- $more := .spec.podTemplate | default dict -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.namespace
- name: POD_TEMPLATE_HASH
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.labels['pod-template-hash']
# By which servers tell one rollout from another: docs/architecture.md, "Drain order in a rollout".
- name: ROOKERY_REVISION
  value: $(POD_NAMESPACE)/{{ .name }}/$(POD_TEMPLATE_HASH)
{{- range $name, $value := $more.env | default dict }}
- name: {{ $name | quote }}
  value: {{ $value | quote }}
{{- end }}
{{- with $more.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- with dig "redis" "urlSecret" nil .spec }}
- name: ROOKERY_REDIS
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | default "url" | quote }}
      optional: false
{{- end }}
{{- end -}}
