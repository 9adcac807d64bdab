{{/* The configuration of onezot. */}}

{{/*
The nodes in their order. `own`, if given, is the number of the pod that reads it: its registry is on localhost.
*/}}
{{- define "onezot.nodes" -}}
{{- $root := .root -}}
{{- $set := $root.Values.zot.statefulSet -}}
{{- if and $root.Values.zot.nodes (not $root.Values.sidecar.enabled) -}}
{{- toYaml $root.Values.zot.nodes -}}
{{- else -}}
{{- $pod := include "onezot.zot.name" $root -}}
{{- $domain := printf "%s.%s.svc.%s" (include "onezot.zot.service" $root) (include "onezot.zot.namespace" $root) $set.clusterDomain -}}
{{- range $number := until (int $set.replicas) }}
- name: {{ $pod }}-{{ $number }}
{{- if and (hasKey $ "own") (eq $number (int $.own)) }}
  url: {{ printf "%s://127.0.0.1:%v" $set.scheme $set.port }}
{{- else }}
  url: {{ printf "%s://%s-%d.%s:%v" $set.scheme $pod $number $domain $set.port }}
{{- end }}
{{- end }}
{{- end -}}
{{- end }}

{{- define "onezot.config" -}}
{{- $values := .root.Values -}}
{{- $base := dict
  "listen" (list (printf "0.0.0.0:%s" (include "onezot.port" .root)))
  "admin" (printf "%s:%v" (ternary "0.0.0.0" "127.0.0.1" $values.metrics.enabled) $values.metrics.port)
-}}
{{- if not (hasKey $values.config "nodes") -}}
{{- $_ := set $base "nodes" (include "onezot.nodes" . | fromYamlArray) -}}
{{- end -}}
{{- mergeOverwrite $base (deepCopy $values.config) | toYaml -}}
{{- end }}

{{/* The files in /etc/onezot, by name. */}}
{{- define "onezot.files" -}}
{{- range $name, $text := .Values.configFiles }}
{{ $name }}: |
  {{- tpl $text $ | trim | nindent 2 }}
{{- end }}
{{- if .Values.sidecar.enabled }}
{{- range $number := until (int .Values.zot.statefulSet.replicas) }}
{{ include "onezot.zot.name" $ }}-{{ $number }}.yaml: |
  {{- include "onezot.config" (dict "root" $ "own" $number) | nindent 2 }}
{{- end }}
{{- else if not (hasKey .Values.configFiles "onezot.yaml") }}
onezot.yaml: |
  {{- include "onezot.config" (dict "root" .) | nindent 2 }}
{{- end }}
{{- end }}

{{/* The configuration of the registry beside onezot. */}}
{{- define "onezot.zot.config" -}}
{{- $address := dict "http" (dict "address" "0.0.0.0" "port" (.Values.zot.statefulSet.port | toString)) -}}
{{- mergeOverwrite (deepCopy .Values.sidecar.zot.config) $address | toPrettyJson -}}
{{- end }}
