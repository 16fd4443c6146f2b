{{/* Settings of the operator as variables: SELFIE_ and the name of the flag. */}}
{{- define "selfie.operator.settings" -}}
SELFIE_NAMESPACE: {{ .Release.Namespace }}
SELFIE_HOST: 0.0.0.0
SELFIE_PORT: "8080"
SELFIE_LEASE_NAME: {{ include "selfie.name" (dict "root" . "component" "operator") }}
SELFIE_API_QPS: {{ .Values.operator.apiQps | quote }}
SELFIE_API_BURST: {{ .Values.operator.apiBurst | quote }}
SELFIE_GENERATION_ADDRESS: {{ include "selfie.address" (dict "root" . "component" "generation") }}
SELFIE_FILTERING_ADDRESS: {{ include "selfie.address" (dict "root" . "component" "filtering") }}
SELFIE_TRAINING_ADDRESS: {{ include "selfie.address" (dict "root" . "component" "training") }}
SELFIE_RUN_SERVICE_ADDRESS: dns:///{name}.{namespace}.svc:50051
SELFIE_TOKEN_FILE: /var/run/secrets/selfie.dev/token
SELFIE_ARTIFACTS_ROOT: {{ include "selfie.store.root" . }}
SELFIE_ARTIFACT_ROOTS: {{ .Values.artifacts.allowedRoots | toJson | quote }}
SELFIE_SOURCES_ROOT: {{ .Values.operator.sourcesRoot }}
SELFIE_PODS: /etc/selfie/pods/pods.yaml
{{- if .Values.operator.maxActiveRuns }}
SELFIE_MAX_ACTIVE_RUNS: {{ .Values.operator.maxActiveRuns | quote }}
{{- end }}
{{- end }}
