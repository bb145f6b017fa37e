{{/* The pod of the connector, and the containers that are made like it. */}}

{{/* Environment, security and mounts of a container that runs `kafka-celonis` with the configuration. */}}
{{- define "celonis-connector.container" -}}
image: {{ include "celonis-connector.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: KAFKA_CELONIS_CONFIG
    value: /etc/kafka-celonis/connector.yaml
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: SPOOL_DIRECTORY
    value: /spool
  {{- if .Values.emulator.enabled }}
  - name: CELONIS_URL
    value: http://{{ include "celonis-connector.fullname" . }}-emulator:9010
  - name: CELONIS_POOL_ID
    value: {{ include "celonis-connector.emulatorPool" . }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or .Values.existingSecret .Values.extraEnvFrom }}
envFrom:
  {{- with .Values.existingSecret }}
  - secretRef:
      name: {{ . }}
  {{- end }}
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - name: config
    mountPath: /etc/kafka-celonis
    readOnly: true
  - name: spool
    mountPath: {{ dig "spool" "directory" "" (include "celonis-connector.settings" . | fromJson) | replace "${SPOOL_DIRECTORY}" "/spool" }}
  - name: tmp
    mountPath: /tmp
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Volumes but for the spool. */}}
{{- define "celonis-connector.volumes" -}}
- name: config
  configMap:
    name: {{ include "celonis-connector.fullname" . }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The spool on the node's disk. */}}
{{- define "celonis-connector.spoolOnNode" -}}
- name: spool
  emptyDir:
    sizeLimit: {{ include "celonis-connector.spoolSize" . }}
{{- end -}}

{{/* What a claim for the spool asks for. */}}
{{- define "celonis-connector.spoolClaim" -}}
accessModes: [ReadWriteOnce]
{{- with .Values.spool.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ include "celonis-connector.spoolSize" . }}
{{- end -}}

{{- define "celonis-connector.podTemplate" -}}
{{- $labels := dict "root" . "component" "connector" -}}
metadata:
  labels:
    {{- include "celonis-connector.podLabels" $labels | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "celonis-connector.configFile" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "celonis-connector.podBasics" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "celonis-connector.gracePeriod" . }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "celonis-connector.selectorLabels" $labels | fromYaml)) }}
  {{- $constraints := list }}
  {{- range . }}
  {{- $constraints = append $constraints (hasKey . "labelSelector" | ternary . (merge (deepCopy $own) .)) }}
  {{- end }}
  topologySpreadConstraints: {{- toYaml $constraints | nindent 4 }}
  {{- end }}
  {{- if or .Values.check.initContainer .Values.extraInitContainers }}
  initContainers:
    {{- with .Values.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if .Values.check.initContainer }}
    - name: check
      args: [check]
      {{- include "celonis-connector.container" . | nindent 6 }}
    {{- end }}
  {{- end }}
  containers:
    - name: connector
      args: [run]
      {{- include "celonis-connector.container" . | nindent 6 }}
      ports:
        - name: http
          containerPort: {{ include "celonis-connector.port" . }}
      {{- range $probe, $path := dict "startup" "/livez" "liveness" "/livez" "readiness" "/readyz" }}
      {{ $probe }}Probe:
        httpGet:
          path: {{ $path }}
          port: http
        {{- get $.Values.probes $probe | toYaml | nindent 8 }}
      {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "celonis-connector.volumes" . | nindent 4 }}
    {{- if eq .Values.workload "Deployment" }}
    {{- if .Values.spool.claim }}
    - name: spool
      ephemeral:
        volumeClaimTemplate:
          spec: {{- include "celonis-connector.spoolClaim" . | nindent 12 }}
    {{- else }}
    {{- include "celonis-connector.spoolOnNode" . | nindent 4 }}
    {{- end }}
    {{- end }}
{{- end -}}

{{/* The pool that the emulator serves when it is told none. */}}
{{- define "celonis-connector.emulatorPool" -}}
11111111-2222-3333-4444-555555555555
{{- end -}}
