{{/* The connector's configuration, and what the chart derives from it. */}}

{{/* The settings as JSON, from a mapping or a text; what is needed in a pod is put into a mapping. */}}
{{- define "celonis-connector.settings" -}}
{{- $config := .Values.config -}}
{{- $static := eq .Values.workload "StatefulSet" -}}
{{- if kindIs "string" $config -}}
  {{- $config = fromYaml $config -}}
  {{- if and (hasKey $config "Error") (eq (len $config) 1) -}}
    {{- fail (printf "config: the text is not a YAML mapping: %s" $config.Error) -}}
  {{- end -}}
{{- else -}}
  {{- $config = mergeOverwrite (dict "spool" (dict "directory" "/spool")) (deepCopy $config) -}}
  {{- if $static -}}
    {{- $config = mergeOverwrite (dict "kafka" (dict "instance_id" "${POD_NAME}")) $config -}}
  {{- end -}}
{{- end -}}
{{- include "celonis-connector.noSecrets" (dict "node" (omit $config "tables") "path" "config") -}}
{{- $id := (($config).kafka).instance_id | default "" | toString -}}
{{- if and $static (not (contains "${POD_NAME}" $id)) -}}
  {{- fail "config.kafka.instance_id: workload StatefulSet needs a name for each pod: set it to ${POD_NAME}" -}}
{{- end -}}
{{- if and $id (not $static) -}}
  {{- fail "config.kafka.instance_id: a static member needs a name that stays: set workload to StatefulSet, or remove it" -}}
{{- end -}}
{{- if not (dig "spool" "directory" "" $config | toString | regexMatch "^(/|\\$\\{SPOOL_DIRECTORY\\})") -}}
  {{- fail "config.spool.directory: the root file system cannot be written to: set it to ${SPOOL_DIRECTORY}, which is /spool, or to another absolute path" -}}
{{- end -}}
{{- if .Values.emulator.enabled -}}
  {{- if or (ne (dig "celonis" "team_url" "" $config) "${CELONIS_URL}") (ne (dig "celonis" "pool_id" "" $config) "${CELONIS_POOL_ID}") -}}
    {{- fail "emulator.enabled: nothing would reach it: set config.celonis.team_url to ${CELONIS_URL} and pool_id to ${CELONIS_POOL_ID}" -}}
  {{- end -}}
  {{- if not .Values.existingSecret -}}
    {{- fail "emulator.enabled: it takes its key from CELONIS_APP_KEY of existingSecret: name that" -}}
  {{- end -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* Fails where a secret stands by value: {node, path}. The connector refuses too, but then it is too late: the ConfigMap is written. */}}
{{- define "celonis-connector.noSecrets" -}}
{{- $path := .path -}}
{{- range $name, $value := .node -}}
  {{- $here := printf "%s.%s" $path $name -}}
  {{- if kindIs "map" $value -}}
    {{- include "celonis-connector.noSecrets" (dict "node" $value "path" $here) -}}
  {{- else if kindIs "string" $value -}}
  {{- /* Not in one condition: before Go 1.18, and so before Helm 3.9, `and` looked at all of its parts. */}}
  {{- if and (regexMatch "password|secret|token$|^bearer|app_key|jaas|key\\.pem$|oauthbearer\\.config" $name) (not (contains "${" $value)) -}}
    {{- fail (printf "%s: a secret must not stand in values: put it into existingSecret and write ${NAME}" $here) -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* The file in the ConfigMap: a text to the letter. */}}
{{- define "celonis-connector.configFile" -}}
{{- $settings := include "celonis-connector.settings" . -}}
{{- if kindIs "string" .Values.config -}}
{{ .Values.config }}
{{- else -}}
{{ $settings | fromJson | toYaml }}
{{- end -}}
{{- end -}}

{{/* A number of a size or duration as the connector reads them: {value, path, units, instead}. */}}
{{- define "celonis-connector.measure" -}}
{{- if kindIs "string" .value -}}
  {{- $parts := regexFind "^\\s*\\d+(\\.\\d+)?\\s*[a-zA-Z]*\\s*$" .value -}}
  {{- $unit := regexReplaceAll "[^a-zA-Z]" $parts "" | lower -}}
  {{- if or (not $parts) (not (hasKey .units $unit)) -}}
    {{- fail (printf "%s: cannot be read here (%s): %s" .path .value .instead) -}}
  {{- end -}}
  {{- mulf (regexFind "\\d+(\\.\\d+)?" $parts | float64) (get .units $unit) | ceil | int64 -}}
{{- else -}}
  {{- .value | float64 | ceil | int64 -}}
{{- end -}}
{{- end -}}

{{- define "celonis-connector.spoolBytes" -}}
{{- $settings := include "celonis-connector.settings" . | fromJson -}}
{{- $units := dict "" 1 "b" 1 "kb" 1e3 "mb" 1e6 "gb" 1e9 "kib" 1024 "mib" 1048576 "gib" 1073741824 -}}
{{- include "celonis-connector.measure" (dict "value" (dig "spool" "bytes" "10 GiB" $settings) "path" "config.spool.bytes" "units" $units "instead" "write a size such as 10 GiB, spool.size is compared with it") -}}
{{- end -}}

{{- define "celonis-connector.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- $settings := include "celonis-connector.settings" . | fromJson -}}
{{- $units := dict "" 1 "ms" 0.001 "s" 1 "m" 60 "min" 60 "h" 3600 "d" 86400 -}}
{{- $drain := include "celonis-connector.measure" (dict "value" (dig "drain_timeout" "30 s" $settings) "path" "config.drain_timeout" "units" $units "instead" "write a duration such as 30 s, or set terminationGracePeriodSeconds") -}}
{{- /* Behind the drain, 18 s if brokers hang: 8 to leave the group, 2 for orders, 3 for the ledger, 5 for dead letters. */}}
{{- add $drain 25 -}}
{{- else -}}
{{- .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{- define "celonis-connector.port" -}}
{{- $port := dig "observe" "port" 8080 (include "celonis-connector.settings" . | fromJson) -}}
{{- if or (kindIs "string" $port) (not $port) -}}
  {{- fail "config.observe.port: probes need a number from 1 to 65535: write it out" -}}
{{- end -}}
{{- int $port -}}
{{- end -}}

{{/* The size of the spool's volume, once it is known to be enough. */}}
{{- define "celonis-connector.spoolSize" -}}
{{- $size := toString .Values.spool.size -}}
{{- $units := dict "" 1 "k" 1e3 "m" 1e6 "g" 1e9 "t" 1e12 "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776 -}}
{{- $have := include "celonis-connector.measure" (dict "value" $size "path" "spool.size" "units" $units "instead" "write a quantity such as 12Gi") -}}
{{- $need := mulf (include "celonis-connector.spoolBytes" . | float64) 1.1 -}}
{{- if lt (float64 $have) $need -}}
  {{- fail (printf "spool.size: %s is too small: config.spool.bytes and a tenth more have to fit, or pods are evicted" $size) -}}
{{- end -}}
{{- $size -}}
{{- end -}}
