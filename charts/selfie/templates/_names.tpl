{{- define "selfie.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels of every object: (dict "root" $ "component" NAME). */}}
{{- define "selfie.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{ include "selfie.selector" . }}
{{- end }}

{{- define "selfie.selector" -}}
app.kubernetes.io/name: selfie
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Name of an object of one component: (dict "root" $ "component" NAME). */}}
{{- define "selfie.name" -}}
{{ include "selfie.fullname" .root }}-{{ .component }}
{{- end }}

{{/* What a token of the component's account says of who it is. */}}
{{- define "selfie.subject" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:{{ include "selfie.name" . }}
{{- end }}

{{/* gRPC target of a component's Service: all of its pods, found by name. */}}
{{- define "selfie.address" -}}
dns:///{{ include "selfie.name" . }}.{{ .root.Release.Namespace }}.svc:50051
{{- end }}

{{/* Image: (dict "root" $ "image" operator|service|gpu). */}}
{{- define "selfie.image" -}}
{{- $images := .root.Values.images }}
{{- $image := index $images .image }}
{{- $name := ternary $image.repository (printf "%s/%s" $images.registry $image.repository) (empty $images.registry) }}
{{- if $image.digest }}{{ $name }}@{{ $image.digest }}
{{- else }}{{ $name }}:{{ $images.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Secret with the scorer's certificate; empty without one. */}}
{{- define "selfie.scorer.tls" -}}
{{- $tls := .Values.scorer.tls }}
{{- if $tls.secretName }}{{ $tls.secretName }}
{{- else if $tls.certManager.enabled }}{{ include "selfie.name" (dict "root" . "component" "scorer") }}-tls
{{- end }}
{{- end }}
