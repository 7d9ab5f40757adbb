{{/* How the servers of a release without an operator are replaced; mirrors
     crates/operator/src/validate/rollout.rs and what effective.rs writes of it. */}}

{{/* Completes `drain`, where servers know of each other: (dict "spec" SPEC "drain" DRAIN). */}}
{{- define "rookery.completeRollout" -}}
{{- $rollout := .spec.rollout | default dict -}}
{{- $most := (include "rookery.replicas" .spec | fromJson).max -}}
{{- $lead := include "rookery.nanoseconds" .drain.lead | int64 -}}
{{- $window := include "rookery.nanoseconds" .drain.window | int64 -}}
{{- /* A new server may need 20 s to come up. */ -}}
{{- $rounds := include "rookery.rounds" (dict "rollout" $rollout "most" $most) | int64 -}}
{{- $patience := max (add $lead $window 20000000000) (add (mul (add $lead 20000000000) (sub $rounds 1)) 20000000000) -}}
{{- include "rookery.default" (list .drain "patience" (include "rookery.period" $patience)) -}}
{{- include "rookery.default" (list .drain "order" "together") -}}
{{- $longest := mul $window 2 -}}
{{- if not (kindIs "invalid" $rollout.paceOfReconnects) -}}
{{- $pace := regexFind "[0-9]+" (toString $rollout.paceOfReconnects) | int64 -}}
{{- $_ := set .drain "pace" (printf "%d/s" $pace) -}}
{{- $autoscaling := .spec.autoscaling | default dict -}}
{{- $each := dig "limits" "connections" 50000 (.spec.config | default dict) | int64 -}}
{{- if dig "enabled" true $autoscaling -}}
{{- $each = $autoscaling.connectionsPerPod | default 10000 | int64 -}}
{{- end -}}
{{- $needed := divf (mul $each $most) (max 1 $pace) | ceil | int64 -}}
{{- $step := 60 -}}
{{- range until 11 -}}
{{- if and (lt $step (int $needed)) (lt $step 86400) -}}
{{- $step = mul $step 2 | int -}}
{{- end -}}
{{- end -}}
{{- $longest = max $longest (mul (min 86400 $step) 1000000000) -}}
{{- end -}}
{{- include "rookery.default" (list .drain "longestWindow" (include "rookery.period" $longest)) -}}
{{- end -}}

{{/* In how many rounds all servers are replaced: (dict "rollout" ROLLOUT "most" SERVERS). */}}
{{- define "rookery.rounds" -}}
{{- $unavailable := toString (.rollout.maxUnavailable | default 0) -}}
{{- if kindIs "invalid" .rollout.maxSurge -}}
1
{{- else if and (hasSuffix "%" (toString .rollout.maxSurge)) (has $unavailable (list "0" "0%")) -}}
{{- divf 100 (min 100 (max 1 (trimSuffix "%" (toString .rollout.maxSurge) | int64))) | ceil | int64 -}}
{{- else -}}
{{- $atOnce := 0 -}}
{{- $most := .most -}}
{{- range list (toString .rollout.maxSurge) $unavailable -}}
{{- if hasSuffix "%" . -}}
{{- $atOnce = add $atOnce (divf (mul $most (min 100 (trimSuffix "%" . | int64))) 100 | ceil | int64) -}}
{{- else -}}
{{- $atOnce = add $atOnce (int64 .) -}}
{{- end -}}
{{- end -}}
{{- $needed := divf $most (max 1 $atOnce) | ceil | int64 -}}
{{- $rounds := 1 -}}
{{- range until 20 -}}
{{- if lt (int64 $rounds) $needed -}}
{{- $rounds = mul $rounds 2 -}}
{{- end -}}
{{- end -}}
{{- $rounds -}}
{{- end -}}
{{- end -}}

{{/* The strategy of the Deployment, in JSON: (dict "spec" SPEC "config" CONFIG "most" SERVERS). */}}
{{- define "rookery.rollout" -}}
{{- $rollout := .spec.rollout | default dict -}}
{{- $drain := .config.drain -}}
{{- $lead := include "rookery.nanoseconds" $drain.lead | int64 -}}
{{- $window := include "rookery.nanoseconds" $drain.window | int64 -}}
{{- $hasRedis := or .spec.redis (kindIs "map" .config.redis) -}}
{{- $isTogether := and $hasRedis (eq ($drain.order | default "turns") "together") (include "rookery.nanoseconds" ($drain.patience | default "0s") | int64) -}}
{{- $atOnce := and $isTogether (or (not (kindIs "invalid" $rollout.maxSurge)) (gt (int .most) 2)) -}}
{{- $surge := $rollout.maxSurge -}}
{{- if kindIs "invalid" $surge -}}
{{- $surge = ternary "100%" 1 (not (not $atOnce)) -}}
{{- end -}}
{{- $minReady := ternary $lead (add $lead $window) (not (not $atOnce)) -}}
{{- dict
    "maxSurge" $surge
    "maxUnavailable" ($rollout.maxUnavailable | default 0)
    "minReadySeconds" (divf $minReady 1000000000 | ceil | int64)
  | toJson -}}
{{- end -}}

{{/* The longest that a server may take to stop, in seconds. */}}
{{- define "rookery.longestDrainSeconds" -}}
{{- $drain := .drain -}}
{{- $lead := include "rookery.nanoseconds" $drain.lead | int64 -}}
{{- $patience := include "rookery.nanoseconds" ($drain.patience | default "0s") | int64 -}}
{{- $wait := ternary (add $patience $lead) 0 (gt $patience 0) -}}
{{- $longest := include "rookery.nanoseconds" $drain.window | int64 -}}
{{- if $drain.longestWindow -}}
{{- $longest = max $longest (include "rookery.nanoseconds" $drain.longestWindow | int64) -}}
{{- else if not (kindIs "invalid" $drain.pace) -}}
{{- $longest = max $longest 600000000000 -}}
{{- end -}}
{{- divf (add $lead $wait $longest) 1000000000 | ceil | int64 -}}
{{- end -}}

{{/* Servers that know of each other give clients away, unless they are not to: (dict "asked" REBALANCE
     "config" CONFIG). */}}
{{- define "rookery.completeRebalance" -}}
{{- if eq (.asked.mode | default "automatic") "manual" -}}
{{- $_ := unset .config "rebalance" -}}
{{- else -}}
{{- $rebalance := .config.rebalance | default dict -}}
{{- with .asked.threshold -}}
{{- $_ := set $rebalance "threshold" . -}}
{{- end -}}
{{- if not (kindIs "invalid" .asked.rate) -}}
{{- $_ := set $rebalance "rate" (printf "%s/s" (regexFind "[0-9]+" (toString .asked.rate))) -}}
{{- end -}}
{{- with .asked.after -}}
{{- $_ := set $rebalance "after" (include "rookery.period" (include "rookery.nanoseconds" .)) -}}
{{- end -}}
{{- $_ := set .config "rebalance" $rebalance -}}
{{- end -}}
{{- end -}}

{{/* The URL of Redis that `redis` gives; nothing where a Secret holds it. */}}
{{- define "rookery.redisUrl" -}}
{{- if .url -}}
{{- .url -}}
{{- else if .host -}}
{{- ternary "rediss" "redis" (not (not .tls)) -}}://{{- ternary (printf "[%s]" .host) .host (contains ":" .host) -}}:{{- .port | default 6379 | int -}}
{{- end -}}
{{- end -}}
