#!/usr/bin/env bash
# Follows the presence of users: watch.sh ada bob
# Prints the stream, and opens another one when it has ended.

# A single value would be split at its commas.
users=()
for user in "$@" "$1"; do users+=(--data-urlencode "ids=$user"); done
silence=$((3 * ${PRESENCE_HEARTBEAT:-15}))
pause=1
while true; do
    header=
    [ -z "${PRESENCE_TOKEN_FILE:-}" ] || header="authorization: Bearer $(cat "$PRESENCE_TOKEN_FILE")"
    began=$SECONDS
    # A stream below a byte a second for this time is broken.
    curl --no-buffer --silent --show-error --fail-with-body --header @- \
        --speed-limit 1 --speed-time "$silence" --get "${users[@]}" \
        "${PRESENCE_URL:-http://localhost:8080}/v1.0/communications/watchPresences" <<<"$header"
    echo "-- lost"
    [ $((SECONDS - began)) -lt 60 ] || pause=1
    sleep $((1 + RANDOM % pause))
    pause=$((pause < 15 ? 2 * pause : 30))
done
