# shellcheck shell=sh
# What node.sh asks of the Kubernetes API: one node after the other restarts its containerd, and a node is
# marked as ready. The service account may do just that; templates/rbac.yaml of the chart lists it.

NODE=${NODE:-}
NAMESPACE=${NAMESPACE:-keycell}
ACCOUNT=${ACCOUNT:-/var/run/secrets/kubernetes.io/serviceaccount}
LABEL=${LABEL:-keycell.dev/ready}
TAINT=${TAINT:-keycell.dev/not-ready}
# Longer than a failed restart and its rollback, so the holder never has to renew it.
LEASE_SECONDS=${LEASE_SECONDS:-600}
POLL_SECONDS=${POLL_SECONDS:-5}
FAILED=keycell.dev/failed

case ${KUBERNETES_SERVICE_HOST:-} in
*:*) address="[$KUBERNETES_SERVICE_HOST]" ;;
*) address=${KUBERNETES_SERVICE_HOST:-kubernetes.default.svc} ;;
esac
API=${API:-https://$address:${KUBERNETES_SERVICE_PORT:-443}}

newline='
'

# call METHOD PATH [CONTENT-TYPE BODY]: sets `code`, 000 without an answer, and `body`. The token is not among
# the arguments of curl, which everyone on the node could read.
call() {
    answer=$(printf 'Authorization: Bearer %s\n' "$(cat "$ACCOUNT/token")" |
        curl --silent --show-error --max-time 10 --cacert "$ACCOUNT/ca.crt" --header @- \
            ${3:+--header "Content-Type: $3" --data "$4"} \
            --write-out '\n%{http_code}' --request "$1" "$API$2") || true
    code=${answer##*"$newline"}
    body=${answer%"$newline"*}
}

member() {
    printf '%s' "$body" | jq --raw-output "$1"
}

takes_lease() {
    [ -n "$LEASE" ] && [ "$RESTART" = yes ]
}

# Whoever has waited this many seconds on this machine's clock for a Lease that nobody changed takes it: its holder
# has ended. Clocks of two machines are never compared.
take_lease() {
    takes_lease || return 0
    path=/apis/coordination.k8s.io/v1/namespaces/$NAMESPACE/leases/$LEASE
    seen="" since=0 said=""
    while [ -z "$stopping" ]; do
        call GET "$path"
        if [ "$code" = 200 ]; then
            version=$(member .metadata.resourceVersion)
            holder=$(member '.spec.holderIdentity // ""')
            failed=$(member ".metadata.annotations[\"$FAILED\"] // \"\"")
            if [ "$version" != "$seen" ]; then
                seen=$version since=$(uptime_seconds)
            fi
            if [ -n "$failed" ]; then
                wait_for_operator
            elif [ -z "$holder" ] || [ "$holder" = "$NODE" ] ||
                [ $(($(uptime_seconds) - since)) -ge "$LEASE_SECONDS" ]; then
                # The version in it makes this fail where another node was faster.
                put_lease ".spec.holderIdentity = \$node | .spec.acquireTime = \$now | .spec.renewTime = \$now |
                    .spec.leaseDurationSeconds = $LEASE_SECONDS |
                    .spec.leaseTransitions = (.spec.leaseTransitions // 0) + 1"
                [ "$code" != 200 ] || return 0
                [ "$code" = 409 ] || say_answer "$path"
            else
                say_once "waiting for $holder, which restarts containerd"
            fi
        else
            say_answer "$path"
        fi
        sleep "$POLL_SECONDS"
    done
    fail "a signal came before containerd was configured; the next pod goes on"
}

# After a failure. The node that failed does not try again by itself, and the others wait.
wait_for_operator() {
    go_on="kubectl --namespace $NAMESPACE annotate lease $LEASE $FAILED-"
    case $failed in
    "$NODE: "*) fail "this node has failed before: $failed" "when its cause is gone: $go_on" ;;
    esac
    say_once "no other node goes on, because $failed; to go on: $go_on"
}

# Does not fail: a Lease that cannot be released expires.
release_lease() {
    takes_lease || return 0
    change_own_lease "del(.spec.holderIdentity, .spec.acquireTime, .spec.renewTime, .spec.leaseDurationSeconds)"
}

# stop_rollout REASON: no other node takes the Lease until an operator has looked.
stop_rollout() {
    takes_lease || return 0
    reason="$NODE: $1"
    change_own_lease "del(.spec.holderIdentity, .spec.acquireTime, .spec.renewTime, .spec.leaseDurationSeconds) |
        .metadata.annotations[\"$FAILED\"] = \$reason"
}

# Where k3s restarts, the API is away for a while.
change_own_lease() {
    until_second=$(($(uptime_seconds) + LEASE_SECONDS / 3))
    while [ "$(uptime_seconds)" -lt "$until_second" ]; do
        call GET "$path"
        if [ "$code" = 200 ]; then
            [ "$(member '.spec.holderIdentity // ""')" = "$NODE" ] || break
            put_lease "$1"
            [ "$code" != 200 ] || return 0
        fi
        sleep 1
    done
    echo "note: the Lease was not changed; the API answers $code" >&2
}

# put_lease FILTER: writes `body` with a change.
put_lease() {
    changed=$(printf '%s' "$body" | jq --compact-output --arg node "$NODE" --arg reason "${reason:-}" \
        --arg now "$(date -u +%Y-%m-%dT%H:%M:%S.000000Z)" "$1")
    call PUT "$path" application/json "$changed"
}

# For schedulers: sets the label of the node, and takes the startup taint away.
mark() {
    # Taints are replaced as a list, so the version makes the patch fail where somebody has changed them meanwhile.
    patch_node "{metadata: {resourceVersion: .metadata.resourceVersion, labels: {\"$LABEL\": \"true\"}},
        spec: {taints: [.spec.taints[]? | select(.key != \"$TAINT\")]}}"
    echo "the node has the label $LABEL=true"
}

unmark() {
    patch_node "{metadata: {labels: {\"$LABEL\": null}}}"
    echo "the node does not have the label $LABEL any more"
}

# patch_node FILTER: makes the patch from the node.
patch_node() {
    node=/api/v1/nodes/$NODE
    said=""
    while [ -z "$stopping" ]; do
        call GET "$node"
        if [ "$code" = 200 ]; then
            call PATCH "$node" application/merge-patch+json "$(printf '%s' "$body" | jq --compact-output "$1")"
            [ "$code" != 200 ] || return 0
        fi
        [ "$code" = 409 ] || say_answer "$node"
        sleep "$POLL_SECONDS"
    done
    fail "a signal came before the node was marked"
}

# Rights and objects may come later than the pod, and the API may be away, so no answer ends the waiting.
say_answer() {
    say_once "waiting for the Kubernetes API, which answers $code for \`$1\`: $(member '.message // ""' 2>/dev/null || true)"
}

say_once() {
    [ "$said" = "$1" ] || echo "$1"
    said=$1
}

# Of the machine's monotonic clock.
uptime_seconds() {
    cut -d. -f1 /proc/uptime
}
