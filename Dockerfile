# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p presenced --bin presenced \
    && cp target/release/presenced /usr/local/bin/presenced

FROM debian:bookworm-slim
# The certificates are for fetching the keys of tokens.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=65532 --group=65532 /var/lib/presenced
COPY --from=build /usr/local/bin/presenced /usr/local/bin/presenced

# Where the embedded database is kept, unless PRESENCE_DATABASE_URL says otherwise.
WORKDIR /var/lib/presenced
VOLUME /var/lib/presenced
USER 65532:65532

# Inside a container everything is published on purpose. It still refuses to
# serve strangers until PRESENCE_AUTH=jwt says whose tokens let callers in, or
# PRESENCE_ALLOW_INSECURE=true that something else keeps strangers out.
ENV PRESENCE_GRPC_ADDR=0.0.0.0:50051 \
    PRESENCE_HTTP_ADDR=0.0.0.0:8080 \
    PRESENCE_ADMIN_ADDR=0.0.0.0:9090
EXPOSE 50051 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["presenced", "healthcheck"]
ENTRYPOINT ["presenced"]
