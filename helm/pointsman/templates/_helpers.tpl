{{/* Names and labels; nothing else. */}}

{{- define "pointsman.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "pointsman.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "pointsman.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pointsman.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* (list root suffix): the full name and a suffix that survives the limit of 63 characters. */}}
{{- define "pointsman.componentName" -}}
{{- $root := index . 0 -}}
{{- $suffix := index . 1 -}}
{{- $room := sub 62 (len $suffix) | int -}}
{{- printf "%s-%s" (include "pointsman.fullname" $root | trunc $room | trimSuffix "-") $suffix -}}
{{- end -}}

{{/* (list root name): the host of an expert that runs in this release. */}}
{{- define "pointsman.expertHost" -}}
{{- include "pointsman.componentName" (list (index . 0) (printf "expert-%s" (index . 1))) -}}
{{- end -}}

{{/* (list root component): what selectors match. Never add to it: selectors cannot be changed in place. */}}
{{- define "pointsman.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "pointsman.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* (list root component) */}}
{{- define "pointsman.labels" -}}
{{- $root := index . 0 -}}
{{ include "pointsman.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pointsman.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pointsman.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pointsman.secretName" -}}
{{- default (include "pointsman.fullname" .) .Values.secret.existingSecret -}}
{{- end -}}

{{/* (list image defaultTag) */}}
{{- define "pointsman.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 1) $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The settings file: its templates filled in, and the embedded pool where it names none. */}}
{{- define "pointsman.config" -}}
{{- $config := tpl (toYaml .Values.config) . | fromYaml -}}
{{- if $config.Error -}}
{{- fail (printf "config: %s" $config.Error) -}}
{{- end -}}
{{- if not (hasKey $config "pool") -}}
{{- $_ := set $config "pool" (.Files.Get "files/embedded-pool.yaml" | fromYaml).pool -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "pointsman.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "pointsman.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "pointsman.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}
