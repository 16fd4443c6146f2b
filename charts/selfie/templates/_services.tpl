{{/*
A gRPC service as Deployment, headless Service and account:
(dict "root" $ "component" NAME "service" FULL-GRPC-NAME "values" VALUES "image" service|gpu
      "args" ARGUMENTS-AFTER-PYTHON "callers" SUBJECTS "env" LIST "volumes" LIST "mounts" LIST
      "startSeconds" TIME-UNTIL-IT-LISTENS "checksum" TEXT "apiPort" PORT "healthPort" PORT
      "scales" WHETHER-SOMEBODY-ELSE-COUNTS-THE-REPLICAS)
*/}}
{{- define "selfie.service" -}}
{{- $name := include "selfie.name" . }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  labels:
    {{- include "selfie.labels" . | nindent 4 }}
  {{- with .root.Values.artifacts.accountAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels:
    {{- include "selfie.labels" . | nindent 4 }}
spec:
  # Callers find every pod by name and spread their calls: a connection of gRPC stays where it is.
  clusterIP: None
  selector:
    {{- include "selfie.selector" . | nindent 4 }}
  ports:
    - name: grpc
      port: 50051
      targetPort: grpc
    - name: metrics
      port: 9090
      targetPort: metrics
    {{- with .apiPort }}
    - name: api
      port: {{ . }}
      targetPort: api
    {{- end }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels:
    {{- include "selfie.labels" . | nindent 4 }}
spec:
  {{- if not .scales }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "selfie.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- with merge (dict) .values.podLabels .root.Values.allPods.labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- include "selfie.labels" . | nindent 8 }}
      {{- $annotations := merge (dict) .values.podAnnotations .root.Values.allPods.annotations }}
      {{- with .checksum }}{{ $_ := set $annotations "checksum/config" (sha256sum .) }}{{ end }}
      {{- with $annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ .account | default $name }}
      # It reads the API server's keys, by which callers' tokens are verified.
      automountServiceAccountToken: true
      enableServiceLinks: false
      # The first process of a container would not hear that it shall end before it is done with its imports.
      shareProcessNamespace: true
      terminationGracePeriodSeconds: 30
      securityContext:
        {{- include "selfie.pod.security" . | nindent 8 }}
      {{- with include "selfie.pod.placement" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "selfie.image" . }}
          imagePullPolicy: {{ .root.Values.images.pullPolicy }}
          command:
            {{- toYaml .root.Values.allPods.python | nindent 12 }}
          args:
            {{- toYaml .args | nindent 12 }}
          env:
            {{- include "selfie.server.env" . | nindent 12 }}
            {{- with .env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- include "selfie.env" . | nindent 12 }}
          ports:
            - name: grpc
              containerPort: 50051
            - name: metrics
              containerPort: 9090
            {{- with .apiPort }}
            - name: api
              containerPort: {{ . }}
            {{- end }}
          {{- $health := .healthPort | default 50051 }}
          startupProbe:
            grpc: {port: {{ $health }}}
            periodSeconds: 2
            failureThreshold: {{ div .startSeconds 2 }}
          livenessProbe:
            grpc: {port: {{ $health }}}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            grpc: {port: {{ $health }}, service: {{ .service }}}
            periodSeconds: 5
            timeoutSeconds: 5
          lifecycle:
            preStop:
              # Callers have heard that it goes before it refuses them.
              sleep: {seconds: 5}
          resources:
            {{- toYaml .resources | nindent 12 }}
          securityContext:
            {{- include "selfie.container.security" . | nindent 12 }}
          terminationMessagePolicy: FallbackToLogsOnError
          volumeMounts:
            {{- include "selfie.mounts" . | nindent 12 }}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "selfie.volumes" . | nindent 8 }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}
