#!/bin/sh
# Makes daemonset.yaml and uninstall.yaml from the chart: manifests.sh [DIRECTORY]
set -eu
cd "$(dirname "$0")"
directory=${1:-.}
helm=${HELM:-../target/tools/bin/helm}

# render [HELM'S ARGUMENTS]: with the comment on standard input above it.
render() {
    cat
    "$helm" template keycell chart --namespace keycell --set createNamespace=true "$@" |
        sed -e '/^# Source: /d' -e '/^$/d'
}

render >"$directory/daemonset.yaml" <<'END'
# Installs Keycell on every Linux node, one after the other, and keeps the keys of the Secret `keycell-keys` there:
#
#   kubectl apply --filename daemonset.yaml
#   kubectl --namespace keycell create secret generic keycell-keys --from-file=node.pem
#   kubectl --namespace keycell rollout status daemonset keycell --timeout=0
#
# Replace `image` with the one that Containerfile makes, in a registry of yours. uninstall.yaml removes Keycell
# again. docs/kubernetes.md says what happens. `make manifests` makes this file from the chart.
END
render --set uninstall=true >"$directory/uninstall.yaml" <<'END'
# Removes Keycell from every node, one after the other. Apply it after deleting the DaemonSet of daemonset.yaml:
#
#   kubectl --namespace keycell delete daemonset keycell
#   kubectl apply --filename uninstall.yaml
#   kubectl --namespace keycell rollout status daemonset keycell-uninstall --timeout=0
#   kubectl delete namespace keycell
#
# `make manifests` makes this file from the chart.
END
