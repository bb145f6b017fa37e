{{/* Names, labels, images, contexts. */}}

{{- define "celonis-connector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters, so that what is put behind it (-replay-12345678, the hash of a revision) still fits into a label. */}}
{{- define "celonis-connector.fullname" -}}
{{- $name := include "celonis-connector.name" . -}}
{{- $full := or (contains $name .Release.Name) (contains "celonis" .Release.Name) | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What never changes: {root, component}. */}}
{{- define "celonis-connector.selectorLabels" -}}
app.kubernetes.io/name: {{ include "celonis-connector.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The Job of a replay is named by what it replays, and by nothing else: another image or configuration does not replay again. */}}
{{- define "celonis-connector.replayName" -}}
{{ include "celonis-connector.fullname" . }}-replay-{{ toJson .Values.replay.args | sha256sum | trunc 8 }}
{{- end -}}

{{/* Labels of a resource: {root, component}. */}}
{{- define "celonis-connector.labels" -}}
{{ include "celonis-connector.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod: no version of the chart, so that a new one does not roll pods that stay the same: {root, component}. */}}
{{- define "celonis-connector.podLabels" -}}
{{ include "celonis-connector.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a monitor, a rule or a dashboard: the common ones and those by which others find it: {root, own}. */}}
{{- define "celonis-connector.foundLabels" -}}
{{ include "celonis-connector.labels" (dict "root" .root "component" "connector") }}
{{- with .own }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "celonis-connector.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "celonis-connector.serviceAccountName" -}}
{{- default (include "celonis-connector.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* What all pods of the chart have in common. */}}
{{- define "celonis-connector.podBasics" -}}
serviceAccountName: {{ include "celonis-connector.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* PromQL selector of our series. The monitors make the label `job` of the release's name. */}}
{{- define "celonis-connector.series" -}}
{{- default (printf "namespace=%q,job=%q" .Release.Namespace .Release.Name) .Values.monitoring.selector -}}
{{- end -}}
