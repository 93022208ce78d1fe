//! What `docs/operations.md` and `deploy/` tell operators is true.

mod observability;
mod tables;
