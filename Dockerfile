# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# jemalloc is built with make.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p presenced --bin presenced \
    && cp target/release/presenced /usr/local/bin/presenced

FROM debian:bookworm-slim
# The CA certificates are needed to fetch a JSON Web Key Set by https.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=65532 --group=65532 /var/lib/presenced
COPY --from=build /usr/local/bin/presenced /usr/local/bin/presenced

# Directory of the default SQLite database; PRESENCE_DATABASE_URL overrides it.
WORKDIR /var/lib/presenced
VOLUME /var/lib/presenced
USER 65532:65532

# A container's ports are published explicitly, so the service listens on all addresses.
# It does not start before it gets PRESENCE_AUTH=jwt, or PRESENCE_ALLOW_INSECURE=true if a
# firewall or proxy keeps other clients out.
ENV PRESENCE_GRPC_ADDR=0.0.0.0:50051 \
    PRESENCE_HTTP_ADDR=0.0.0.0:8080 \
    PRESENCE_ADMIN_ADDR=0.0.0.0:9090
EXPOSE 50051 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["presenced", "healthcheck"]
ENTRYPOINT ["presenced"]
