{{- define "keycell.labels" -}}
app.kubernetes.io/name: keycell
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "keycell.name" -}}
{{ if .Values.uninstall }}keycell-uninstall{{ else }}keycell{{ end }}
{{- end }}

{{- define "keycell.image" -}}
image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "keycell.takesLease" -}}
{{ if and .Values.restart.enabled .Values.restart.lease }}yes{{ end }}
{{- end }}

{{- define "keycell.callsApi" -}}
{{ if or .Values.markNode (include "keycell.takesLease" .) }}yes{{ end }}
{{- end }}

{{- /* Where the container that changes the node learns what to do. */ -}}
{{- define "keycell.environment" -}}
- name: NODE
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: BIN
  value: {{ .Values.binDirectory | quote }}
- name: RESTART
  value: {{ ternary "yes" "no" .Values.restart.enabled | quote }}
{{- with include "keycell.takesLease" . }}
- name: LEASE
  value: keycell-restart
{{- end }}
{{- with .Values.containerd.config }}
- name: CONFIG
  value: {{ . | quote }}
{{- end }}
{{- with .Values.containerd.program }}
- name: CONTAINERD
  value: {{ . | quote }}
{{- end }}
{{- with .Values.containerd.unit }}
- name: UNIT
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* Installs or uninstalls, and ends. It is as powerful as it looks: it writes programs that containerd runs
     as root, and restarts containerd. */ -}}
{{- define "keycell.privileged" -}}
securityContext:
  privileged: true
  readOnlyRootFilesystem: true
env:
  {{- include "keycell.environment" . | nindent 2 }}
volumeMounts:
  - name: host
    mountPath: /host
  {{- if include "keycell.takesLease" . }}
  - name: account
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  {{- end }}
{{- end }}

{{- /* User 0 without Linux capabilities: the decoder wants keys that belong to root, because everyone else who
     owns a key can change it. */ -}}
{{- define "keycell.unprivileged" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: ["ALL"]
privileged: false
readOnlyRootFilesystem: true
runAsUser: 0
runAsGroup: 0
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "keycell.marks" -}}
securityContext:
  {{- include "keycell.unprivileged" . | nindent 2 }}
env:
  - name: NODE
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
volumeMounts:
  - name: account
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
{{- end }}

{{- define "keycell.keysContainer" -}}
securityContext:
  {{- include "keycell.unprivileged" . | nindent 2 }}
  {{- with .Values.seLinuxOptions }}
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
volumeMounts:
  - name: node-keys
    mountPath: /host/etc/keycell/keys
  - name: keys
    mountPath: /keys
    readOnly: true
{{- end }}

{{- define "keycell.resources" -}}
resources:
  requests:
    cpu: 5m
    memory: 16Mi
  limits:
    memory: 256Mi
{{- end }}

{{- /* The token is in the containers alone that call the API, not in the one that stays. */ -}}
{{- define "keycell.account" -}}
- name: account
  projected:
    defaultMode: 0400
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
