{{/* What the schema cannot say: rules across values. Each says what to change. */}}

{{- define "pointsman.validate" -}}
{{- $config := include "pointsman.config" . | fromYaml -}}
{{- $server := default dict $config.server -}}
{{- $pool := dig "pool" "experts" (list) $config -}}

{{- if not (or $pool (dig "pool" "model_list" (list) $config)) -}}
{{- fail "config.pool: name at least one expert" -}}
{{- end -}}

{{- $drain := add (int .Values.gateway.preStopSeconds) (int (default 20 $server.graceful_shutdown_s)) -}}
{{- if le (int .Values.gateway.terminationGracePeriodSeconds) (int $drain) -}}
{{- fail (printf "gateway.terminationGracePeriodSeconds must be more than %d: preStopSeconds and config.server.graceful_shutdown_s come first" $drain) -}}
{{- end -}}

{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.targetCPUUtilizationPercentage) (not .Values.autoscaling.targetMemoryUtilizationPercentage) -}}
{{- fail "autoscaling needs targetCPUUtilizationPercentage or targetMemoryUtilizationPercentage" -}}
{{- end -}}

{{- if and .Values.redis.enabled (or .Values.redis.externalUrl .Values.redis.externalUrlSecret.name) -}}
{{- fail "redis: set enabled to false where you name a Redis of your own" -}}
{{- end -}}
{{- if and .Values.redis.externalUrl .Values.redis.externalUrlSecret.name -}}
{{- fail "redis: state externalUrl or externalUrlSecret, not both" -}}
{{- end -}}

{{- if and .Values.secret.existingSecret .Values.secret.values -}}
{{- fail "secret: state existingSecret or values, not both" -}}
{{- end -}}
{{- if not .Values.secret.existingSecret -}}
{{- $known := concat (keys .Values.secret.values) (list "POINTSMAN_API_KEY") -}}
{{- range .Values.gateway.extraEnv -}}{{- $known = append $known .name -}}{{- end -}}
{{- range dig "auth" "keys" (list) $config -}}
{{- if and .key_env (not (has .key_env $known)) -}}
{{- fail (printf "config.auth.keys: key '%s' reads %s, which stands neither in secret.values nor in gateway.extraEnv" .name .key_env) -}}
{{- end -}}
{{- end -}}
{{- range $pool -}}
{{- if and .api_key_env (not (has .api_key_env $known)) -}}
{{- fail (printf "config.pool.experts: '%s' reads %s, which stands neither in secret.values nor in gateway.extraEnv" .name .api_key_env) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $names := list -}}
{{- range $pool -}}{{- $names = append $names .name -}}{{- end -}}
{{- $seen := list -}}
{{- range .Values.experts -}}
{{- if has .name $seen -}}
{{- fail (printf "experts: '%s' stands there twice" .name) -}}
{{- end -}}
{{- $seen = append $seen .name -}}
{{- if not (has .name $names) -}}
{{- fail (printf "experts: '%s' would run, but config.pool.experts does not name it" .name) -}}
{{- end -}}
{{- end -}}

{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host: name the host" -}}
{{- end -}}
{{- end -}}
