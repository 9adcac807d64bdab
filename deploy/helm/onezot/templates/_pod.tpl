{{/* What the pods of the Deployment and of the StatefulSet have in common. */}}

{{- define "onezot.probe" -}}
{{- toYaml .probe }}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ ternary "HTTPS" .root.Values.httpGet.scheme (ne .root.Values.tls.secretName "") }}
{{- end }}

{{- define "onezot.container" -}}
- name: onezot
  image: {{ include "onezot.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    - serve
    - --config
    {{- /* Of a StatefulSet's pods, each has a file of its own. */}}
    - /etc/onezot/{{ ternary "$(POD_NAME)" "onezot" .Values.sidecar.enabled }}.yaml
    {{- with .Values.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .Values.sidecar.enabled .Values.env }}
  env:
    {{- if .Values.sidecar.enabled }}
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    {{- end }}
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  ports:
    - name: http
      containerPort: {{ include "onezot.port" . }}
      protocol: TCP
    {{- if .Values.metrics.enabled }}
    - name: admin
      containerPort: {{ .Values.metrics.port }}
      protocol: TCP
    {{- end }}
  startupProbe:
    {{- include "onezot.probe" (dict "root" . "probe" .Values.startupProbe "path" "/startupz") | nindent 4 }}
  livenessProbe:
    {{- include "onezot.probe" (dict "root" . "probe" .Values.livenessProbe "path" "/livez") | nindent 4 }}
  readinessProbe:
    {{- include "onezot.probe" (dict "root" . "probe" .Values.readinessProbe "path" "/readyz") | nindent 4 }}
  {{- with .Values.lifecycle }}
  lifecycle:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: config
      mountPath: /etc/onezot
      readOnly: true
    {{- if .Values.tls.secretName }}
    - name: tls
      mountPath: /etc/onezot-tls
      readOnly: true
    {{- end }}
    {{- range .Values.externalSecrets }}
    - name: {{ .secretName }}
      mountPath: {{ .mountPath }}
      readOnly: true
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "onezot.podMetadata" -}}
annotations:
  checksum/config: {{ include "onezot.files" . | sha256sum }}
  {{- if .Values.sidecar.enabled }}
  checksum/zot: {{ include "onezot.zot.config" . | sha256sum }}
  {{- end }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "onezot.selectorLabels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "onezot.volumes" -}}
- name: config
  configMap:
    name: {{ include "onezot.fullname" . }}
{{- with .Values.tls.secretName }}
- name: tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- range .Values.externalSecrets }}
- name: {{ .secretName }}
  secret:
    secretName: {{ .secretName }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The rest of a pod: who it is and where it runs. */}}
{{- define "onezot.podSpec" -}}
serviceAccountName: {{ include "onezot.serviceAccountName" . }}
automountServiceAccountToken: {{ eq .Values.zot.discovery "kubernetes" }}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
dnsPolicy: {{ .Values.dnsPolicy }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
{{- with .Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
