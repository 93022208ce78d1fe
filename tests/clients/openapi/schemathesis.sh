# Schemathesis with the service's own OpenAPI document, against a running presenced:
#
#   PRESENCE_URL=http://localhost:8080 sh schemathesis.sh
#
# PRESENCE_TEST_SEED is the seed; the default is 1.
#
# - The checks that compare accepted requests with the schemas are off: the service reads
#   enum values in any case and ignores unknown properties.
# - One worker: with several, the Python interpreter sometimes fails, because it counts
#   the recursion depth of all threads together.
# - watchPresences and holdPresence are left out, since their streams never end.
set -e
# Schemathesis leaves files in its working directory.
cd "$(mktemp -d)"
run() {
    schemathesis run "$PRESENCE_URL/openapi.json" --url "$PRESENCE_URL/v1.0" --workers 1 --no-color --seed "${PRESENCE_TEST_SEED:-1}" \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method \
        "$@"
}
run --exclude-path '/$batch' --exclude-path-regex '/(watch|hold)Presences?$' --max-examples 50
run --include-path '/$batch' --max-examples 300
