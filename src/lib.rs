//! `presenced`, a self-hosted presence service. `ARCHITECTURE.md` is the map.

pub mod admin;
pub mod app;
pub mod auth;
pub mod batch;
pub mod cleanup;
pub mod clock;
pub mod commands;
pub mod deliver;
pub mod doctor;
pub mod graph;
pub mod grpc;
pub mod health;
pub mod notify;
pub mod presence;
pub mod sampler;
pub mod server;
pub mod service;
pub mod settings;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod watch;
pub mod worker;
