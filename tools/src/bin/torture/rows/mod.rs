//! The rows of the table, one file for each group. The tests run some of them with small
//! numbers, `scripts/torture` all of them with large ones.

pub mod callers;
pub mod clock;
pub mod cluster;
pub mod deliveries;
pub mod faults;
pub mod herd;
pub mod kills;
pub mod pairs;
pub mod retries;
pub mod rolling;
pub mod soak;

pub use presenced_tools::{Client, connect};

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The property that is claimed.
    pub property: String,
    /// The extent of the attempt.
    pub tried: String,
    /// The result.
    pub figure: String,
    /// Whether the property held.
    pub held: bool,
}
