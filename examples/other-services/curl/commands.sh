#!/usr/bin/env bash
# Start, cancel and resume an operation over HTTP with curl and jq.
#
#   MILEPOST_HTTP_URL=http://127.0.0.1:8080 ./commands.sh backtest spec.json nightly-2026-11-26
#
# The last word is a name of your own for this piece of work; every command's idempotency key is made from it. Run
# again with the same name, each command is answered as a duplicate and nothing happens twice.
# Off loopback MILEPOST_HTTP_TOKEN is needed (docs/http.md).
set -euo pipefail

kind=$1 spec=$2 name=$3
url=${MILEPOST_HTTP_URL:-http://127.0.0.1:8080}
stop_at_unit=4000
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

http() {
    curl --silent --show-error ${MILEPOST_HTTP_TOKEN:+--header "Authorization: Bearer $MILEPOST_HTTP_TOKEN"} "$@"
}

# post PATH KEY BODY: send a command and print the verdict; a refusal is a problem document (RFC 9457)
post() {
    http --request POST "$url/$1" --header "Idempotency-Key: $2" --header "Content-Type: application/json" --data "$3" |
        jq -c 'if has("verdict") then .
            else "\(.code): \(.detail)\([.problems[]? | "\n  \(.field): \(.message)"] | add // "")\n\(.fix)\n" | halt_error(1)
            end'
}

# end_of OPERATION: print how it ended. Each look says how far it saw, and the live stream goes on from there.
end_of() {
    local found position
    while :; do
        http --dump-header "$scratch/headers" "$url/operations?id_begins=$1&limit=1" > "$scratch/body"
        found=$(jq -c '.operations[] | select(.status | IN("completed", "cancelled", "failed"))
            | {event: "milepost.operation.\(.status).v1", unit}' "$scratch/body")
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
        position=$(tr -d '\r' < "$scratch/headers" | awk 'tolower($1) == "milepost-sequence:" {print $2}')
        grep --quiet --max-count 1 '^event:' < <(http --no-buffer "$url/live?operation_id=$1&after=$position" 2> /dev/null)
    done
}

start=$(jq -c --arg kind "$kind" --arg name "$name" \
    '{kind: $kind, spec: ., name: $name, options: {pace_units_per_second: 2500}}' "$spec")
started=$(post operations "$name-start" "$start")
parent=$(jq -r .operation_id <<< "$started")

cancelled=$(post "operations/$parent/cancel" "$name-cancel" \
    "{\"at_unit\": $stop_at_unit, \"reason\": \"the machine is needed\"}")
stopped=$(end_of "$parent")

resumed=$(post "operations/$parent/resume" "$name-resume" '{"options": {}}')
child=$(jq -r .operation_id <<< "$resumed")
ended=$(end_of "$child")

jq -cn --argjson verdicts "[$started, $cancelled, $resumed]" --arg parent "$parent" --argjson stopped "$stopped" \
    --arg child "$child" --argjson ended "$ended" \
    '{verdicts: [$verdicts[].verdict], parent: $parent, stopped: $stopped, child: $child, ended: $ended}'
