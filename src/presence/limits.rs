//! The limits of requests.

use std::time::Duration;

/// How far a time of observation may be ahead of the service's clock, because clocks differ.
pub const OBSERVED_AHEAD_MAX: Duration = Duration::from_secs(5);

/// Sessions in one `BatchSetPresences` or `BatchClearPresences` request.
pub const REQUESTS_MAX: usize = 1_000;

/// Users in one read of many users, in a page of a list, and in a watch over
/// HTTP. Graph: getPresencesByUserId.
pub const USER_IDS_MAX: usize = 650;

/// Users that a page of a list with a filter reads at most, for each presence that fits on it.
pub const USERS_READ_PER_PRESENCE: u32 = 10;

/// Users that a list with a filter, or a count with one, reads at once.
pub const USERS_READ_AT_ONCE: u32 = 250;

/// Users that one `WatchPresences` stream of the gRPC API may name.
pub const WATCHED_MAX: usize = 10_000;

/// Requests in one `$batch` request. Graph: JSON batching.
pub const BATCH_ITEMS_MAX: usize = 20;

/// The maximum number of intervals on a page of history.
pub const INTERVALS_MAX: usize = 1_000;
