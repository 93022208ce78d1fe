//! The bodies of notifications.
//!
//! A body has as many of the presences as fit: up to [`PRESENCES_MAX`] and [`BODY_MAX_BYTES`], and at
//! least one. The rest belongs into the next one.

mod body;
mod graph;
mod service;
#[cfg(test)]
mod tests;

pub use body::{BODY_MAX_BYTES, Body, PRESENCES_MAX, PayloadError};
pub use graph::{RichContent, graph_body, graph_reauthorization};
pub use service::{Order, service_body, service_reauthorization};
