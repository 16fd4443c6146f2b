{{/*
Parts of pods. Each takes (dict "root" $ "values" VALUES-OF-THE-COMPONENT …).
Every pod meets the restricted Pod Security Standard, and writes to /tmp alone.
*/}}

{{- define "selfie.pod.security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "selfie.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where the pod may run, and how important it is. */}}
{{- define "selfie.pod.placement" -}}
{{- with merge (dict) .values.nodeSelector .root.Values.allPods.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat .root.Values.allPods.tolerations .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName | default .root.Values.allPods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every process of ours is told: where it may write, how much it says. */}}
{{- define "selfie.env" -}}
- name: HOME
  value: /tmp
- name: SELFIE_LOG_LEVEL
  value: {{ .root.Values.logLevel }}
{{- with .root.Values.traces.endpoint }}
- name: SELFIE_TRACES_ENDPOINT
  value: {{ . | quote }}
- name: SELFIE_TRACES_RATIO
  value: {{ $.root.Values.traces.ratio | quote }}
{{- end }}
{{- include "selfie.store.env" .root }}
{{- with concat .root.Values.allPods.extraEnv .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "selfie.volumes" -}}
- name: tmp
  emptyDir: {}
{{- include "selfie.store.volumes" .root }}
{{- with concat .root.Values.allPods.extraVolumes .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "selfie.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- include "selfie.store.mounts" .root }}
{{- with concat .root.Values.allPods.extraVolumeMounts .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The token by which a process that calls others says who it is. */}}
{{- define "selfie.token.volume" -}}
- name: selfie-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: selfie.dev
          expirationSeconds: 3600
          path: token
{{- end }}

{{- define "selfie.token.mount" -}}
- name: selfie-token
  mountPath: /var/run/secrets/selfie.dev
  readOnly: true
{{- end }}

{{/* What a server is told: where it listens, and who may call: (… "callers" SUBJECTS). */}}
{{- define "selfie.server.env" -}}
- name: SELFIE_HOST
  value: 0.0.0.0
- name: SELFIE_PORT
  value: "50051"
- name: SELFIE_METRICS_PORT
  value: "9090"
- name: SELFIE_ARTIFACT_ROOTS
  value: {{ include "selfie.store.roots" .root | quote }}
- name: SELFIE_CALLERS
  value: {{ .callers | toJson | quote }}
{{- end }}
