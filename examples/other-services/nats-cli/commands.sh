#!/usr/bin/env bash
# Start, cancel and resume an operation with the command `nats` (github.com/nats-io/natscli) and jq.
#
#   MILEPOST_NATS_URL=nats://user:password@host:4222 ./commands.sh backtest spec.json nightly-2026-11-26
#
# The last word is a name of your own for this piece of work; every command's id, its idempotency key, is made from
# it. Run again with the same name, each command is answered as a duplicate and nothing happens twice.
set -euo pipefail

kind=$1 spec=$2 name=$3
prefix=${MILEPOST_PREFIX:-milepost}
export NATS_URL=$MILEPOST_NATS_URL
stop_at_unit=4000

# envelope COMMAND ID ABOUT DATA: a command as it goes over the bus (contracts/schemas/envelope.v1.json)
envelope() {
    jq -cn --arg command "$1" --arg id "$2" --arg about "$3" --argjson data "$4" '{
        specversion: "1.0", id: $id, source: "/nightly", type: "milepost.command.\($command).v1", subject: $about,
        time: (now | todate), datacontenttype: "application/json", data: $data}'
}

# accepted: pass a verdict on; end with the reason, every problem and the fix when it says no
accepted() {
    jq -c 'if .verdict == "rejected"
        then "\(.code): \(.message)\([.problems[] | "\n  \(.field): \(.message)"] | add // "")\n\(.fix)\n" | halt_error(1)
        else . end'
}

# request COMMAND ID ABOUT DATA: send it and print the verdict
request() {
    nats request --raw --timeout 30s "$prefix.request.$1" "$(envelope "$@")" | accepted
}

# publish COMMAND ID ABOUT DATA: store it and wait for nobody; twice within two minutes, it is stored once
publish() {
    nats publish --jetstream --quiet --header "Nats-Msg-Id:$2" "$prefix.command.$1" "$(envelope "$@")"
}

# first SUBJECT: print the first message that a JetStream stream has on it, now or later
first() {
    nats subscribe --raw --all --count 1 "$1"
}

# end_of OPERATION: print the event with which it ends
end_of() {
    local events watching
    exec {events}< <(exec nats subscribe --raw --all "$prefix.event.$1.run.*")  # progress comes here, too
    watching=$!
    jq -cn 'first(inputs | select(.type | test("\\.(completed|cancelled|failed)\\.")))
        | {event: .type, unit: .data.unit}' <&"$events"
    kill "$watching"
    exec {events}<&-
}

start=$(jq -c --arg kind "$kind" --arg name "$name" \
    '{kind: $kind, spec: ., name: $name, options: {pace_units_per_second: 2500}}' "$spec")
started=$(request start "$name-start" "$kind" "$start")
parent=$(jq -r .operation_id <<< "$started")

cancel=$(jq -cn --arg parent "$parent" --argjson unit "$stop_at_unit" \
    '{operation_id: $parent, at_unit: $unit, reason: "the machine is needed"}')
publish cancel "$name-cancel" "$parent" "$cancel"
cancelled=$(first "$prefix.verdict.$name-cancel" | accepted)
stopped=$(end_of "$parent")

resumed=$(request resume "$name-resume" "$parent" "{\"operation_id\": \"$parent\", \"options\": {}}")
child=$(jq -r .operation_id <<< "$resumed")
ended=$(end_of "$child")

jq -cn --argjson verdicts "[$started, $cancelled, $resumed]" --arg parent "$parent" --argjson stopped "$stopped" \
    --arg child "$child" --argjson ended "$ended" \
    '{verdicts: [$verdicts[].verdict], parent: $parent, stopped: $stopped, child: $child, ended: $ended}'
