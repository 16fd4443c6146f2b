{{- define "selfie.store.root" -}}
{{- if eq .Values.artifacts.kind "volume" }}file://{{ .Values.artifacts.volume.mountPath }}
{{- else }}{{ .Values.artifacts.uri | trimSuffix "/" }}
{{- end }}
{{- end }}

{{/* Everything below which runs may keep artifacts, as JSON. */}}
{{- define "selfie.store.roots" -}}
{{ prepend .Values.artifacts.allowedRoots (include "selfie.store.root" .) | toJson }}
{{- end }}

{{- define "selfie.store.claim" -}}
{{ .Values.artifacts.volume.existingClaim | default (printf "%s-artifacts" (include "selfie.fullname" .)) }}
{{- end }}

{{- define "selfie.store.volumes" -}}
{{- if eq .Values.artifacts.kind "volume" }}
- name: artifacts
  persistentVolumeClaim:
    claimName: {{ include "selfie.store.claim" . }}
{{- end }}
{{- if .Values.artifacts.secretName }}
- name: store-credentials
  secret:
    secretName: {{ .Values.artifacts.secretName }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "selfie.store.mounts" -}}
{{- if eq .Values.artifacts.kind "volume" }}
- name: artifacts
  mountPath: {{ .Values.artifacts.volume.mountPath }}
{{- end }}
{{- if .Values.artifacts.secretName }}
- name: store-credentials
  mountPath: /etc/selfie/store
  readOnly: true
{{- end }}
{{- end }}

{{- define "selfie.store.env" -}}
{{- if .Values.artifacts.secretName }}
{{- if hasPrefix "gs://" .Values.artifacts.uri }}
- name: GOOGLE_APPLICATION_CREDENTIALS
  value: /etc/selfie/store/credentials.json
{{- else }}
- name: AWS_SHARED_CREDENTIALS_FILE
  value: /etc/selfie/store/credentials
{{- end }}
{{- end }}
{{- with .Values.artifacts.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
