# Schemathesis over our own document, against a running presenced:
#
#   PRESENCE_URL=http://localhost:8080 sh schemathesis.sh
#
# PRESENCE_TEST_SEED is 1 unless it says otherwise.
#
# Left out are the checks that hold what is let in against the schemas: the
# service reads words in any case and ignores what it does not know, and which
# availability goes with which activity is said in words. One worker: with more,
# the Python interpreter itself fails now and then (it counts how deep its threads
# are in one place). And a stream never ends, for which this waits.
set -e
# It leaves files where it runs.
cd "$(mktemp -d)"
run() {
    schemathesis run "$PRESENCE_URL/openapi.json" --url "$PRESENCE_URL/v1.0" --workers 1 --no-color --seed "${PRESENCE_TEST_SEED:-1}" \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method \
        "$@"
}
run --exclude-path '/$batch' --exclude-path /communications/watchPresences --max-examples 50
run --include-path '/$batch' --max-examples 300
