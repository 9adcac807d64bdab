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
{{- $host := printf "%s-%d.%s" $pod $number $domain }}
{{- $tls := deepCopy $set.tls }}
{{- if and (hasKey $ "own") (eq $number (int $.own)) }}
  url: {{ printf "%s://127.0.0.1:%v" $set.scheme $set.port }}
  {{- /* No certificate is for localhost: it is verified by the name that others use. */}}
  {{- if eq $set.scheme "https" }}
  {{- $tls = merge $tls (dict "server_name" $host) }}
  {{- end }}
{{- else }}
  url: {{ printf "%s://%s:%v" $set.scheme $host $set.port }}
{{- end }}
{{- with $tls }}
  tls:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- with $set.credentialsFile }}
  credentials_file: {{ . }}
{{- end }}
{{- end }}
{{- end -}}
{{- end }}

{{/* Fewer members than the StatefulSet has would be another placement: they are not believed. */}}
{{- define "onezot.discovery" -}}
{{- $set := .Values.zot.statefulSet -}}
{{- if eq .Values.zot.discovery "dns" -}}
dns: _{{ $set.portName }}._tcp.{{ include "onezot.zot.service" . }}.{{ include "onezot.zot.namespace" . }}.svc.{{ $set.clusterDomain }}
{{- else -}}
kubernetes: {{ include "onezot.zot.namespace" . }}/{{ include "onezot.zot.service" . }}:{{ $set.portName }}
{{- end }}
at_least: {{ $set.replicas }}
{{- with $set.tls }}
tls:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "onezot.config" -}}
{{- $values := .root.Values -}}
{{- $listen := printf "0.0.0.0:%s" (include "onezot.port" .root) -}}
{{- if $values.tls.secretName -}}
{{- $listen = dict "address" $listen "tls" (dict "certificate" "/etc/onezot-tls/tls.crt" "key" "/etc/onezot-tls/tls.key") -}}
{{- end -}}
{{- $base := dict
  "listen" (list $listen)
  "timeouts" (dict "linger" .root.Values.linger)
  "admin" (printf "%s:%v" (ternary "0.0.0.0" "127.0.0.1" $values.metrics.enabled) $values.metrics.port)
-}}
{{- if eq $values.zot.discovery "static" -}}
{{- if not (or (hasKey $values.config "nodes") (hasKey $values.config "discovery")) -}}
{{- $_ := set $base "nodes" (include "onezot.nodes" . | fromYamlArray) -}}
{{- end -}}
{{- else -}}
{{- $_ := set $base "discovery" (include "onezot.discovery" .root | fromYaml) -}}
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
