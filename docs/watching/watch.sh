#!/usr/bin/env bash
# Follows what users are shown as: watch.sh ada bob
# Prints what the service sends, and opens another stream when one has ended.
users=$(IFS=,; echo "$*")
silence=$((3 * ${PRESENCE_HEARTBEAT:-15}))
pause=1
while true; do
    header=
    [ -z "${PRESENCE_TOKEN_FILE:-}" ] || header="authorization: Bearer $(cat "$PRESENCE_TOKEN_FILE")"
    began=$SECONDS
    # Less than a byte a second for so long is silence.
    curl --no-buffer --silent --show-error --fail-with-body --header @- \
        --speed-limit 1 --speed-time "$silence" --get --data-urlencode "ids=$users" \
        "${PRESENCE_URL:-http://localhost:8080}/v1.0/communications/watchPresences" <<<"$header"
    echo "-- lost"
    [ $((SECONDS - began)) -lt 60 ] || pause=1
    sleep $((1 + RANDOM % pause))
    pause=$((pause < 15 ? 2 * pause : 30))
done
