//! What `docs/operations.md` and `deploy/` tell operators is true.

mod api;
mod deploy;
mod observability;
mod tables;
