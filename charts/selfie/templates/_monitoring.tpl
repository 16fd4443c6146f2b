{{/*
What is alike at every endpoint. A series that says itself whose run it is keeps its namespace: the
operator and the training controller tell of runs. `component` tells processes of one release apart.
*/}}
{{- define "selfie.endpoint" -}}
path: /metrics
interval: {{ .Values.monitoring.interval }}
honorLabels: true
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component]
    targetLabel: component
metricRelabelings:
  # When a series began is known to Prometheus itself.
  - sourceLabels: [__name__]
    regex: selfie_.+_created
    action: drop
  # A thousand buckets each.
  - sourceLabels: [__name__]
    regex: tgi_batch_next_size_bucket
    action: drop
{{- end }}

{{/* The rules of files/alerts.yaml with this release's names in the place of `selfie`. */}}
{{- define "selfie.alerts" -}}
{{- $names := printf "%s-" (include "selfie.fullname" .) }}
{{- $rules := .Files.Get "files/alerts.yaml" | fromYaml }}
{{- range $group := $rules.groups }}
{{- $_ := set $group "name" (printf "%s.%s" $group.name $.Release.Namespace) }}
{{- range $rule := $group.rules }}
{{- $expr := $rule.expr | replace "namespace=\"selfie\"" (printf "namespace=%q" $.Release.Namespace) }}
{{- $expr = $expr | replace "job=\"selfie-" (printf "job=\"%s" $names) | replace "job=~\"selfie-" (printf "job=~\"%s" $names) }}
{{- $_ := set $rule "expr" $expr }}
{{- if $rule.alert }}
{{- $labels := $rule.labels }}
{{- if $labels.namespace }}{{ $_ := set $labels "namespace" $.Release.Namespace }}{{ end }}
{{- $description := $rule.annotations.description | replace "in selfie for" (printf "in %s for" $.Release.Namespace) }}
{{- $_ := set $rule.annotations "description" $description }}
{{- $base := $.Values.monitoring.prometheusRule.runbookUrl | trimSuffix "/" }}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s.md" $base $rule.alert) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $rules }}
{{- end }}
