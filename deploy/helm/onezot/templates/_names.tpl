{{/* What objects are called, and how they are found. */}}

{{- define "onezot.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* 52 characters at most: a StatefulSet's pods carry a label of its name and a hash, of 63 at most. */}}
{{- define "onezot.fullname" -}}
{{- $name := include "onezot.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "onezot.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end }}

{{- define "onezot.selectorLabels" -}}
app.kubernetes.io/name: {{ include "onezot.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "onezot.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "onezot.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "onezot.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "onezot.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "onezot.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The port of onezot in its pod. */}}
{{- define "onezot.port" -}}
{{- if .Values.sidecar.enabled }}{{ .Values.sidecar.port }}{{ else }}5000{{ end -}}
{{- end }}

{{/* The StatefulSet of the registries, its headless service and where that is. */}}
{{- define "onezot.zot.name" -}}
{{- if .Values.sidecar.enabled }}{{ include "onezot.fullname" . }}{{ else }}{{ .Values.zot.statefulSet.name }}{{ end -}}
{{- end }}

{{- define "onezot.zot.service" -}}
{{- if .Values.sidecar.enabled -}}
{{ include "onezot.fullname" . }}-headless
{{- else -}}
{{ .Values.zot.statefulSet.service | default (printf "%s-headless" .Values.zot.statefulSet.name) }}
{{- end -}}
{{- end }}

{{- define "onezot.zot.namespace" -}}
{{- if .Values.sidecar.enabled -}}
{{ include "onezot.namespace" . }}
{{- else -}}
{{ .Values.zot.statefulSet.namespace | default (include "onezot.namespace" .) }}
{{- end -}}
{{- end }}
