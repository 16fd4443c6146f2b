{{/*
What operator and training controller are told of the pods that they make: the file that
`selfie.kube.pods.PodSettings` reads.
*/}}
{{- define "selfie.run-pods" -}}
{{- $operator := include "selfie.subject" (dict "root" . "component" "operator") }}
{{- $generation := include "selfie.subject" (dict "root" . "component" "generation") }}
{{- /* An engine of another maker is held against the run's judge before it samples. */}}
{{- $judged := ternary (list $generation $operator) (list $operator) (eq (include "selfie.run-servers" .) "true") }}
engine:
  {{- include "selfie.run-pod" (dict "root" . "component" "engine" "callers" (list $generation $operator)) | trim | nindent 2 }}
scoring:
  {{- include "selfie.run-pod" (dict "root" . "component" "scoring" "callers" $judged) | trim | nindent 2 }}
trainer:
  {{- include "selfie.run-pod" (dict "root" . "component" "trainer") | trim | nindent 2 }}
{{- range $kind := list "tgi" "openai" }}
{{- if (index $.Values.runPods $kind).image }}
{{ $kind }}:
  {{- include "selfie.run-server" (dict "root" $ "kind" $kind) | trim | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether runs may ask for an engine that is not Selfie's own. */}}
{{- define "selfie.run-servers" -}}
{{- if or .Values.runPods.tgi.image .Values.runPods.openai.image }}true{{ end }}
{{- end }}

{{/*
One component. With callers it is a server, which reads the API server's keys with its account's
token to verify theirs; without, it is a program, which nobody calls and which calls nobody.
*/}}
{{- define "selfie.run-pod" -}}
{{- $values := index .root.Values.runPods .component }}
{{- $all := .root.Values.allPods }}
{{- $parts := dict "root" .root "values" $values "image" $values.image }}
image: {{ include "selfie.image" $parts }}
command:
  {{- toYaml $all.python | nindent 2 }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccount: {{ include "selfie.name" . }}
automountToken: {{ hasKey . "callers" }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
accelerator: {{ .root.Values.runPods.accelerator }}
env:
  {{- with .callers }}
  - name: SELFIE_CALLERS
    value: {{ toJson . | quote }}
  {{- end }}
  {{- include "selfie.env" $parts | nindent 2 }}
{{- with include "selfie.run-pod.volumes" $parts }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "selfie.run-pod.mounts" $parts }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{ include "selfie.run-pod.placing" $parts | trim }}
{{- end }}

{{/* Where pods of one component run, and what they are marked with. */}}
{{- define "selfie.run-pod.placing" -}}
{{- $values := .values }}
{{- $all := .root.Values.allPods }}
{{- with merge (dict) $values.nodeSelector $all.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat $all.tolerations $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $values.priorityClassName | default $all.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with merge (dict) $values.podLabels $all.labels }}
labels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with merge (dict) $values.podAnnotations $all.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
graceSeconds: {{ $values.graceSeconds }}
{{- end }}

{{/*
An engine that is not Selfie's own. Its image is given weights that another container has fetched; it
has neither the store's credentials nor a token.
*/}}
{{- define "selfie.run-server" -}}
{{- $values := index .root.Values.runPods .kind }}
image: {{ $values.image | quote }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccount: {{ include "selfie.name" (dict "root" .root "component" "server") }}
{{- with $values.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
arguments:
  {{- toYaml $values.arguments | nindent 2 }}
port: {{ .root.Values.runPods.serverPort }}
healthPath: {{ $values.healthPath }}
accelerators: {{ $values.accelerators }}
sharedMemory: {{ $values.sharedMemory | quote }}
startSeconds: {{ $values.startSeconds }}
surge: {{ $values.surge }}
inPlace: {{ $values.inPlace | default false }}
{{- range $name := list "writable" "podSecurityContext" "securityContext" }}
{{- with index $values $name }}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
accelerator: {{ .root.Values.runPods.accelerator }}
env:
  - name: HOME
    value: /tmp
  {{- with concat .root.Values.allPods.extraEnv $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with concat .root.Values.allPods.extraVolumes $values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat .root.Values.allPods.extraVolumeMounts $values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "selfie.run-pod.placing" (dict "root" .root "values" $values) | trim }}
{{- end }}

{{/* /tmp is there already: the code that makes these pods sees to it. */}}
{{- define "selfie.run-pod.volumes" -}}
{{- $store := include "selfie.store.volumes" .root | fromYamlArray }}
{{- $shared := list }}
{{- with .values.sharedMemory }}
{{- $shared = list (dict "name" "shared-memory" "emptyDir" (dict "medium" "Memory" "sizeLimit" .)) }}
{{- end }}
{{- with concat $store $shared .root.Values.allPods.extraVolumes .values.extraVolumes }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "selfie.run-pod.mounts" -}}
{{- $store := include "selfie.store.mounts" .root | fromYamlArray }}
{{- $shared := list }}
{{- if .values.sharedMemory }}
{{- $shared = list (dict "name" "shared-memory" "mountPath" "/dev/shm") }}
{{- end }}
{{- with concat $store $shared .root.Values.allPods.extraVolumeMounts .values.extraVolumeMounts }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "selfie.run-pods.volume" -}}
- name: run-pods
  configMap:
    name: {{ include "selfie.fullname" . }}-run-pods
{{- end }}

{{- define "selfie.run-pods.mount" -}}
- name: run-pods
  mountPath: /etc/selfie/pods
  readOnly: true
{{- end }}
