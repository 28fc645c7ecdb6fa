{{- define "anycert.vaultTokenDir" -}}/var/run/secrets/anycert/vault{{- end -}}

{{- /* The configuration that the values hold, checked, as JSON; "{}" with existingConfigMap. */ -}}
{{- define "anycert.given" -}}
{{- $config := .Values.config | default dict -}}
{{- if kindIs "string" $config -}}
  {{- $config = fromYaml $config -}}
  {{- if hasKey $config "Error" -}}
    {{- fail (printf "config is not a map in YAML: %s" $config.Error) -}}
  {{- end -}}
{{- end -}}
{{- if .Values.existingConfigMap -}}
  {{- if $config -}}
    {{- fail "config and existingConfigMap are both set: keep one of them" -}}
  {{- end -}}
  {{- if include "anycert.page" . | fromJson -}}
    {{- fail "existingConfigMap is set, so that the chart cannot say there who may see the status page: write http into it, mount the token with credentials, and leave out all below page but service" -}}
  {{- end -}}
{{- else if not $config -}}
  {{- fail "there is no configuration: set config to what docs/config.md describes, or existingConfigMap to the name of a ConfigMap with the key config.yaml" -}}
{{- else -}}
  {{- include "anycert.check" (dict "config" $config "Values" .Values) -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{- /* The text of config.yaml; empty with existingConfigMap. Two things are filled in:
where the pod finds the token for Vault's method kubernetes, and who may see the page. */ -}}
{{- define "anycert.config" -}}
{{- $config := include "anycert.given" . | fromJson -}}
{{- $auth := (($config.store).vault).auth | default dict -}}
{{- if and (eq ($auth.method | default "") "kubernetes") (not $auth.token_path) -}}
{{- $_ := set $auth "token_path" (printf "%s/token" (include "anycert.vaultTokenDir" .)) -}}
{{- end -}}
{{- $page := include "anycert.page" . | fromJson -}}
{{- if and $config $page -}}
{{- $_ := set $config "http" (merge $page ($config.http | default dict)) -}}
{{- end -}}
{{- if $config -}}
{{- toYaml $config -}}
{{- end -}}
{{- end -}}

{{- define "anycert.pageDir" -}}/etc/anycert/page{{- end -}}

{{- /* What the values below page say of http in the configuration, as JSON. */ -}}
{{- define "anycert.page" -}}
{{- $page := dict -}}
{{- with .Values.page -}}
  {{- if .token -}}{{- $_ := set $page "token" (dict "file" (printf "%s/token" (include "anycert.pageDir" .))) -}}{{- end -}}
  {{- range $value, $field := dict "hosts" "hosts" "proxies" "proxies" "proxyHeader" "proxy_header" -}}
    {{- with get $.Values.page $value -}}{{- $_ := set $page $field . -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $page -}}
{{- end -}}

{{- /* What can be seen to be wrong before a pod starts. The rest is found by `anycert check`. */ -}}
{{- define "anycert.check" -}}
{{- $config := .config -}}
{{- $why := dict
  "version" "it is the version of the format: 1"
  "owner" "it is the name of this hub, which stands in every mark; choose it once"
  "store" "say where the certificates are kept, as store.vault" -}}
{{- range $field := list "version" "owner" "store" -}}
  {{- if not (get $config $field) -}}
    {{- fail (printf "config.%s is missing: %s" $field (get $why $field)) -}}
  {{- end -}}
{{- end -}}
{{- if ($config.http).listen -}}
  {{- fail "config.http.listen is set: probes and metrics listen where the value port says; leave it out" -}}
{{- end -}}
{{- range $field, $_ := include "anycert.page" . | fromJson -}}
  {{- if get ($config.http | default dict) $field -}}
    {{- fail (printf "config.http.%s is set, and below page as well: keep one of them" $field) -}}
  {{- end -}}
{{- end -}}
{{- if and $config.store.local (not .Values.extraVolumeMounts) -}}
  {{- fail "config.store.local would keep the only truth in a pod, which forgets it: use store.vault, or mount a volume for it with extraVolumes and extraVolumeMounts" -}}
{{- end -}}
{{- $auth := (($config.store).vault).auth | default dict -}}
{{- if and (eq ($auth.method | default "") "kubernetes") (not $auth.token_path) (not .Values.vault.audience) -}}
  {{- fail "vault.audience is empty, so the pod has no token for Vault's method kubernetes: set it to the audience of the role in Vault" -}}
{{- end -}}
{{- include "anycert.checkFiles" (dict "config" $config "kind" "credentials" "known" .Values.credentials "example" "{secret: NAME OF A SECRET}") -}}
{{- include "anycert.checkFiles" (dict "config" $config "kind" "trust" "known" .Values.trust "example" "{configMap: NAME OF A CONFIGMAP}") -}}
{{- end -}}

{{- /* What config expects among the mounted files must be mounted. */ -}}
{{- define "anycert.checkFiles" -}}
{{- $root := printf "/etc/anycert/%s/" .kind -}}
{{- range $path := regexFindAll (printf "%s[^/\"\\\\]+" $root) (toJson .config) -1 -}}
  {{- $name := trimPrefix $root $path -}}
  {{- if not (hasKey $.known $name) -}}
    {{- fail (printf "config refers to %s, but %s.%s is not set: set it to %s" $path $.kind $name $.example) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* The Secrets of this cluster that config speaks of, as JSON: namespace → {keep, list, take},
names of Secrets that sinks keep, whether one lists them, and names of those that an issuer
of type kubernetes takes certificates from. */ -}}
{{- define "anycert.inCluster" -}}
{{- $config := include "anycert.given" . | fromJson -}}
{{- $places := dict -}}
{{- range $sink := $config.sinks -}}
  {{- $at := $sink.config | default dict -}}
  {{- if and (eq $sink.type "kubernetes") $at.in_cluster -}}
    {{- $wanted := $sink.certificates | default list -}}
    {{- range $certificate := $config.certificates -}}
      {{- if or (has "*" $wanted) (has .name $wanted) -}}
        {{- $name := tpl ($at.secret | default "{{ .Name }}-tls") (dict "Name" .name "Template" $.Template) -}}
        {{- range $at.namespaces -}}
          {{- include "anycert.place" (dict "places" $places "namespace" . "keep" $name "list" $at.list) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $issuer := $config.issuers -}}
  {{- $from := $issuer.config | default dict -}}
  {{- if and (eq ($issuer.type | default "") "kubernetes") $from.in_cluster -}}
    {{- range $config.certificates -}}
      {{- if eq (.issuer | default "") $issuer.name -}}
        {{- $place := tpl $from.secret (dict "Name" .name "Template" $.Template) | splitList "/" -}}
        {{- include "anycert.place" (dict "places" $places "namespace" (first $place) "take" (last $place)) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $namespace, $names := .Values.rbac.secrets -}}
  {{- range $names -}}
    {{- include "anycert.place" (dict "places" $places "namespace" $namespace "keep" .) -}}
  {{- end -}}
{{- end -}}
{{- toJson $places -}}
{{- end -}}

{{- /* Notes one Secret in places. */ -}}
{{- define "anycert.place" -}}
{{- $place := get .places .namespace | default (dict "keep" list "list" false "take" list) -}}
{{- if .keep -}}{{- $_ := set $place "keep" (append $place.keep .keep | uniq | sortAlpha) -}}{{- end -}}
{{- if .take -}}{{- $_ := set $place "take" (append $place.take .take | uniq | sortAlpha) -}}{{- end -}}
{{- if .list -}}{{- $_ := set $place "list" true -}}{{- end -}}
{{- $_ := set .places .namespace $place -}}
{{- end -}}
