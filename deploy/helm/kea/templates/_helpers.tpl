{{/* Labels of a component: "operator" or "router". Pods are selected by them, so that they never change. */}}
{{- define "kea.labels" -}}
app.kubernetes.io/name: kea
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Where callers reach the routers; empty where it is not known. */}}
{{- define "kea.url" -}}
{{- if .Values.url -}}
{{ .Values.url }}
{{- else if .Values.ingress.host -}}
{{ ternary "https" "http" (not (empty .Values.ingress.tlsSecret)) }}://{{ .Values.ingress.host }}
{{- else if .Values.gateway.host -}}
http://{{ .Values.gateway.host }}
{{- end -}}
{{- end }}

{{/* Refuses values that contradict each other. */}}
{{- define "kea.check" -}}
{{- if and .Values.ingress.host .Values.gateway.name -}}
{{- fail "ingress.host and gateway.name are both set: an Ingress or a Gateway leads to the routers, so leave one empty" -}}
{{- end -}}
{{- if and .Values.webhook .Values.singleNamespace -}}
{{- fail "webhook and singleNamespace exclude each other: Kubernetes before 1.21 cannot ask a webhook about one namespace alone" -}}
{{- end -}}
{{- if and (not .Values.ingress.host) (or .Values.ingress.className .Values.ingress.tlsSecret) -}}
{{- fail "ingress.className and ingress.tlsSecret belong to an Ingress: set ingress.host too" -}}
{{- end -}}
{{- if and (not .Values.gateway.name) (or .Values.gateway.namespace .Values.gateway.host) -}}
{{- fail "gateway.namespace and gateway.host belong to a Gateway: set gateway.name too" -}}
{{- end -}}
{{- range .Values.env }}
{{- if regexMatch "^[^:/]*://[^/?#]*:[^/?#]+@" (default "" .value) -}}
{{- fail (printf "env: a URL with a password would stand in %s where many can read it: keep it in a Secret, and name that in databaseSecret, cacheRedisSecret or ratesRedisSecret, or by valueFrom" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ssoSecret (not (or .Values.url .Values.ingress.host .Values.gateway.host)) -}}
{{- fail "ssoSecret needs the address of KEA, to which providers send browsers back: set url, or a host" -}}
{{- end -}}
{{- end }}

{{/* KEA's own image. */}}
{{- define "kea.image" -}}
{{ required "image is empty: set it to KEA's own image, as registry.example/kea:1" .Values.image }}
{{- end }}

{{/* Variables of operators and routers. */}}
{{- define "kea.env" -}}
- name: KEA_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: KEA_POD
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: KEA_IMAGE
  value: {{ include "kea.image" . | quote }}
- name: KEA_LOG_FORMAT
  value: json
{{- if .Values.singleNamespace }}
- name: KEA_SINGLE_NAMESPACE
  value: "true"
{{- end }}
{{- with include "kea.url" . }}
- name: KEA_URL
  value: {{ quote . }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A Deployment's spec but for the pods; takes a list of the component and its number of replicas. */}}
{{- define "kea.deploymentSpec" -}}
{{- $component := index . 0 -}}
replicas: {{ index . 1 | int }}
selector:
  matchLabels:
    {{- include "kea.labels" $component | nindent 4 }}
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxUnavailable: 0
    maxSurge: 1
{{- end }}

{{/* What the pods of both components have in common; takes a list of the root and the component. */}}
{{- define "kea.podSpec" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
serviceAccountName: kea-{{ $component }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "kea.labels" $component | nindent 8 }}
{{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" }}
{{- with index $root.Values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the containers of both components have in common. */}}
{{- define "kea.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
