//! What `docs/operations.md` and `deploy/` tell operators is true.

mod deploy;
mod observability;
mod tables;
