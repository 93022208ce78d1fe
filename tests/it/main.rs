//! Every test that needs more than one module: one binary, so that it links
//! once and starts one PostgreSQL.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test may fail"
)]

mod auth;
mod batch;
mod cases;
mod cli;
mod clients;
mod conformance;
mod csharp;
mod docs;
mod doctor;
mod fatal;
mod faults;
mod fuzz;
mod graph;
mod grpc;
mod history;
mod hold;
mod kills;
mod layout;
mod lists;
mod migrations;
mod notify;
mod operations;
mod pgbouncer;
mod property;
mod read_replica;
mod readiness;
mod readme;
mod replicas;
mod server;
mod statements;
mod subscriptions;
mod support;
mod tasks;
mod traces;
mod watch;
