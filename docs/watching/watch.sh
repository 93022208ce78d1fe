#!/usr/bin/env bash
# Follows what users are shown as: watch.sh ada bob
# Prints what the service sends, and opens another stream when one has ended.

# A lone value would be a list of users, split at its commas.
users=()
for user in "$@" "$1"; do users+=(--data-urlencode "ids=$user"); done
silence=$((3 * ${PRESENCE_HEARTBEAT:-15}))
pause=1
while true; do
    header=
    [ -z "${PRESENCE_TOKEN_FILE:-}" ] || header="authorization: Bearer $(cat "$PRESENCE_TOKEN_FILE")"
    began=$SECONDS
    # Less than a byte a second for so long is silence.
    curl --no-buffer --silent --show-error --fail-with-body --header @- \
        --speed-limit 1 --speed-time "$silence" --get "${users[@]}" \
        "${PRESENCE_URL:-http://localhost:8080}/v1.0/communications/watchPresences" <<<"$header"
    echo "-- lost"
    [ $((SECONDS - began)) -lt 60 ] || pause=1
    sleep $((1 + RANDOM % pause))
    pause=$((pause < 15 ? 2 * pause : 30))
done
