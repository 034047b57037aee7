{{- define "gateway.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "gateway.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* Labels of every object, but those that say which component it is. */}}
{{- define "gateway.commonLabels" -}}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.commonLabels" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "gateway.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "gateway.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "gateway.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "gateway.scheme" -}}
{{- ternary "https" "http" (ne .Values.tls.secret "") -}}
{{- end -}}

{{/* host:port of /metrics and /status. */}}
{{- define "gateway.monitoringAddress" -}}
{{- $host := .Values.host -}}
{{- ternary (printf "[%s]" $host) $host (contains ":" $host) }}:{{ .Values.monitoring.port | int }}
{{- end -}}

{{/* Refuses values that are valid one by one, but not together. */}}
{{- define "gateway.check" -}}
{{- $sources := list -}}
{{- if .Values.routes }}{{ $sources = append $sources "routes" }}{{ end -}}
{{- if .Values.routesConfigMap.name }}{{ $sources = append $sources "routesConfigMap" }}{{ end -}}
{{- if .Values.discover }}{{ $sources = append $sources "discover" }}{{ end -}}
{{- if gt (len $sources) 1 -}}
{{- fail (printf "Routes come from one place, and there are %s. Write `discover` into the route file if you want both." (join " and " $sources)) -}}
{{- end -}}
{{- if and .Values.routeFiles (not .Values.routes) -}}
{{- fail "routeFiles are files beside the route file of `routes`, and there is none." -}}
{{- end -}}
{{- if hasKey .Values.routeFiles "routes.yaml" -}}
{{- fail "routes.yaml is the name of the route file itself: give the file in routeFiles another name." -}}
{{- end -}}
{{- if and .Values.routeSecrets (not (or .Values.routes .Values.routesConfigMap.name)) -}}
{{- fail "routeSecrets are files that a route file names, and there is no `routes` and no `routesConfigMap`." -}}
{{- end -}}
{{- $logins := list -}}
{{- range $kind := list "creds" "nkeySeed" "login" "token" -}}
{{- if (index $.Values.nats $kind).secret }}{{ $logins = append $logins (printf "nats.%s" $kind) }}{{ end -}}
{{- end -}}
{{- if gt (len $logins) 1 -}}
{{- fail (printf "The gateway logs in to NATS in one way, and there are %s." (join " and " $logins)) -}}
{{- end -}}
{{- if and .Values.nats.tls.ca.secret .Values.nats.tls.ca.configMap -}}
{{- fail "nats.tls.ca is in a Secret or in a ConfigMap, not in both." -}}
{{- end -}}
{{- if and .Values.tls.clientCa.secret (not .Values.tls.secret) -}}
{{- fail "tls.clientCa needs tls.secret: without HTTPS no caller shows a certificate." -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- if not (or .Values.autoscaling.cpuPercent .Values.autoscaling.requestsInFlight) -}}
{{- fail "autoscaling needs cpuPercent or requestsInFlight." -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is greater than autoscaling.maxReplicas." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs must name a Gateway." -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.ingress.tlsSecret (not .Values.ingress.hosts) -}}
{{- fail "ingress.tlsSecret needs ingress.hosts." -}}
{{- end -}}
{{- end -}}

{{/* The route file, and the files beside it. `|2` allows a text that begins with blanks. */}}
{{- define "gateway.routeData" -}}
routes.yaml: |2
  {{- if kindIs "string" .Values.routes }}
  {{- .Values.routes | trimSuffix "\n" | nindent 2 }}
  {{- else }}
  {{- toYaml .Values.routes | nindent 2 }}
  {{- end }}
{{- range $name, $text := .Values.routeFiles }}
{{ $name | quote }}: |2
  {{- $text | trimSuffix "\n" | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Volumes with files: routes, and secrets. Each has all of its sources in one folder. */}}
{{- define "gateway.routeSources" -}}
{{- if .Values.routes }}
- configMap: {name: {{ include "gateway.fullname" . }}-routes}
{{- end }}
{{- with .Values.routesConfigMap.name }}
- configMap: {name: {{ . | quote }}}
{{- end }}
{{- range .Values.routeSecrets }}
- secret: {name: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "gateway.secretSources" -}}
{{- with .Values.nats.creds }}{{ if .secret }}
- secret: {name: {{ .secret | quote }}, items: [{key: {{ .key | quote }}, path: nats/user.creds}]}
{{- end }}{{ end }}
{{- with .Values.nats.nkeySeed }}{{ if .secret }}
- secret: {name: {{ .secret | quote }}, items: [{key: {{ .key | quote }}, path: nats/user.seed}]}
{{- end }}{{ end }}
{{- with .Values.nats.tls.ca }}{{ if .secret }}
- secret: {name: {{ .secret | quote }}, items: [{key: {{ .key | quote }}, path: nats/ca.crt}]}
{{- else if .configMap }}
- configMap: {name: {{ .configMap | quote }}, items: [{key: {{ .key | quote }}, path: nats/ca.crt}]}
{{- end }}{{ end }}
{{- with .Values.nats.tls.certificate }}{{ if .secret }}
- secret: {name: {{ .secret | quote }}, items: [{key: {{ .certKey | quote }}, path: nats/tls.crt}, {key: {{ .keyKey | quote }}, path: nats/tls.key}]}
{{- end }}{{ end }}
{{- with .Values.tls }}{{ if .secret }}
- secret: {name: {{ .secret | quote }}, items: [{key: {{ .certKey | quote }}, path: tls/tls.crt}, {key: {{ .keyKey | quote }}, path: tls/tls.key}]}
{{- end }}{{ end }}
{{- with .Values.tls.clientCa }}{{ if .secret }}
- secret: {name: {{ .secret | quote }}, items: [{key: {{ .key | quote }}, path: tls/client-ca.crt}]}
{{- end }}{{ end }}
{{- end -}}

{{/* The settings, by name: `settings` of the values, and those that the chart sets. */}}
{{- define "gateway.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- if not (hasKey $settings "GATEWAY_WATCH") }}{{ $_ := set $settings "GATEWAY_WATCH" (not .Values.rollOnChange) }}{{ end -}}
{{- $_ := set $settings "NATS_URL" .Values.nats.url -}}
{{- $_ := set $settings "GATEWAY_HOST" .Values.host -}}
{{- $_ := set $settings "PORT" 8000 -}}
{{- $_ := set $settings "GATEWAY_METRICS_ADDRESS" (include "gateway.monitoringAddress" .) -}}
{{- $_ := set $settings "GATEWAY_STATUS" (ternary (include "gateway.monitoringAddress" .) "off" .Values.monitoring.statusPage) -}}
{{- $_ := set $settings "GATEWAY_DRAIN_TIMEOUT" (printf "%ds" (int .Values.drain.requestSeconds)) -}}
{{- if .Values.routes }}{{ $_ := set $settings "GATEWAY_ROUTES" "/etc/nats-http/routes.yaml" }}{{ end -}}
{{- with .Values.routesConfigMap }}{{ if .name }}{{ $_ := set $settings "GATEWAY_ROUTES" (printf "/etc/nats-http/%s" .file) }}{{ end }}{{ end -}}
{{- with .Values.discover }}{{ $_ := set $settings "GATEWAY_DISCOVER" (join "," .) }}{{ end -}}
{{- $files := dict
  "NATS_CREDS" (list .Values.nats.creds.secret "nats/user.creds")
  "NATS_NKEY_SEED" (list .Values.nats.nkeySeed.secret "nats/user.seed")
  "NATS_TLS_CA" (list (or .Values.nats.tls.ca.secret .Values.nats.tls.ca.configMap) "nats/ca.crt")
  "NATS_TLS_CERT" (list .Values.nats.tls.certificate.secret "nats/tls.crt")
  "NATS_TLS_KEY" (list .Values.nats.tls.certificate.secret "nats/tls.key")
  "GATEWAY_TLS_CERT" (list .Values.tls.secret "tls/tls.crt")
  "GATEWAY_TLS_KEY" (list .Values.tls.secret "tls/tls.key")
  "GATEWAY_TLS_CLIENT_CA" (list .Values.tls.clientCa.secret "tls/client-ca.crt")
-}}
{{- range $name, $file := $files }}{{ if first $file }}{{ $_ := set $settings $name (printf "/etc/nats-http-secrets/%s" (last $file)) }}{{ end }}{{ end -}}
{{- range $name, $value := $settings }}
- name: {{ $name }}
  value: {{ if kindIs "bool" $value }}{{ ternary "on" "off" $value | quote }}{{ else if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ $value | toJson | quote }}{{ end }}
{{- end }}
{{- end -}}

{{- define "gateway.secretVariables" -}}
{{- with .Values.nats.login }}{{ if .secret }}
- name: NATS_USER
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .userKey | quote }}}}
- name: NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .passwordKey | quote }}}}
{{- end }}{{ end }}
{{- with .Values.nats.token }}{{ if .secret }}
- name: NATS_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}}
{{- end }}{{ end }}
{{- end -}}

{{- define "gateway.probe" -}}
httpGet: {path: {{ .path }}, port: http, scheme: {{ .scheme | upper }}}
{{ toYaml .timing }}
{{- end -}}
