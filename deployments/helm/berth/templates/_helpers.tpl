{{- define "berth.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "berth.labels" -}}
app.kubernetes.io/name: berth
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "berth.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "berth.name" .) -}}
{{- end }}

{{- define "berth.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The port of the S3 store, from blobs.url. */}}
{{- define "berth.s3Port" -}}
{{- $endpoint := regexFind "endpoint=https?(://|%3A%2F%2F)[^&]+" .Values.blobs.url | replace "%3A" ":" | replace "%2F" "/" -}}
{{- $port := regexFind ":[0-9]+" (regexReplaceAll "^endpoint=https?://" $endpoint "") -}}
{{- if $port -}}{{ trimPrefix ":" $port }}
{{- else if hasPrefix "endpoint=http:" $endpoint -}}80
{{- else -}}443
{{- end -}}
{{- end }}

{{/* What services speak to each other. */}}
{{- define "berth.internalScheme" -}}
{{- if .Values.tls.internal.existingSecret -}}https{{- else -}}http{{- end -}}
{{- end }}

{{/* The listeners that are reached without TLS, in the cluster's own network. */}}
{{- define "berth.plaintext" -}}
{{- $plain := list -}}
{{- if not .Values.tls.admin.existingSecret }}{{ $plain = append $plain "admin" }}{{ end -}}
{{- if not .Values.tls.internal.existingSecret }}{{ $plain = append $plain "internal" }}{{ end -}}
{{- join "," $plain -}}
{{- end }}

{{/* What every pod may do, which is little. */}}
{{- define "berth.podSecurity" -}}
automountServiceAccountToken: {{ not (empty .Values.serviceAccount.annotations) }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "berth.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The settings of every service. Each reads those it needs. */}}
{{- define "berth.env" -}}
- {name: BERTH_BASE_DOMAIN, value: {{ .Values.baseDomain | quote }}}
- {name: BERTH_PUBLIC_SCHEME, value: {{ .Values.publicScheme | quote }}}
{{- with .Values.trustedProxies }}
- {name: BERTH_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
{{- end }}
- {name: BERTH_DATA_ADDR, value: ":5000"}
- {name: BERTH_ADMIN_ADDR, value: ":5080"}
- {name: BERTH_ADMIN_GRPC_ADDR, value: ":5081"}
- {name: BERTH_OPS_ADDR, value: ":5090"}
- {name: BERTH_INTERNAL_ADDR, value: ":5091"}
- {name: BERTH_UPLOAD_URL, value: "{{ include "berth.internalScheme" . }}://{{ include "berth.name" . }}-upload:5091"}
- {name: BERTH_TOKEN_URL, value: "{{ include "berth.internalScheme" . }}://{{ include "berth.name" . }}-token:5091"}
- {name: BERTH_PROXY_URL, value: "{{ include "berth.internalScheme" . }}://{{ include "berth.name" . }}-proxy:5091"}
{{- if .Values.tls.internal.existingSecret }}
- {name: BERTH_INTERNAL_TLS_CERTS, value: /internal-tls/pair}
- {name: BERTH_INTERNAL_TLS_CA, value: /internal-tls/ca.crt}
{{- with .Values.tls.internal.name }}
- {name: BERTH_INTERNAL_TLS_NAME, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- with include "berth.plaintext" . }}
- {name: BERTH_PLAINTEXT_LISTENERS, value: {{ . | quote }}}
{{- end }}
- {name: BERTH_BLOBS, value: {{ .Values.blobs.url | quote }}}
- {name: BERTH_META, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: meta}}}
- {name: BERTH_INTERNAL_KEY, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: internal-key}}}
{{- if .Values.redis.enabled }}
- {name: BERTH_REDIS, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: redis}}}
{{- end }}
{{- with .Values.blobs.existingSecret }}
- {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_ACCESS_KEY_ID}}}
- {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SECRET_ACCESS_KEY}}}
{{- end }}
{{- if hasPrefix "http" (get .Values.settings "BERTH_AUDIT_SINK" | toString) }}
- {name: BERTH_AUDIT_SINK_TOKEN, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: audit-sink-token, optional: true}}}
{{- end }}
- {name: TMPDIR, value: /spool}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
