//! The operations: one file each, named as its RPC. Each validates, authorizes, and calls the
//! store.

mod batch_clear_presences;
mod batch_get_presences;
mod batch_set_presences;
mod clear_presence;
mod clear_user_preferred_presence;
mod count_presences;
mod create_subscription;
mod delete_subscription;
mod erase_presence;
mod explain_presence;
mod explanation_text;
mod export_presence;
mod get_presence;
mod get_subscription;
mod hold_presence;
mod keep_presence;
mod list_presence_history;
mod list_presences;
mod list_subscriptions;
mod locations;
mod set_presence;
mod set_status_message;
mod set_user_preferred_presence;
mod update_subscription;
mod wait_for_presence;
mod watch_presences;

pub use clear_presence::ClearPresence;
pub use count_presences::{COUNTS_AT_ONCE, Count};
pub use create_subscription::CreateSubscription;
pub use explain_presence::Explanation;
pub use list_presence_history::{HistoryPage, Interval, ListPresenceHistory};
pub use list_presences::{ListPresences, Page};
pub use list_subscriptions::{ListSubscriptions, SubscriptionPage};
pub use locations::SetLocation;
pub use set_presence::SetPresence;
pub use set_status_message::SetStatusMessage;
pub use set_user_preferred_presence::SetUserPreferredPresence;
pub use update_subscription::UpdateSubscription;
pub use wait_for_presence::{WAIT_MAX, WaitForPresence};
pub use watch_presences::WatchEvent;
