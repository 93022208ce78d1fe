//! The resource of a subscription: the users of whose presences it notifies. Graph: subscription.

use super::filter::literals;
use crate::service::{Input, SubscribedUsers, WatchedUsers};

/// The resource of all presences.
const PRESENCES: &str = "communications/presences";
/// The only property that a filter of the resource can name.
const ID: &str = "id";

/// Reads a resource: `communications/presences/{id}`, `communications/presences('{id}')`,
/// `communications/presences?$filter=id in ('{id}', …)`, or `communications/presences` for everybody. A
/// slash at the start is optional, and names may have any case.
pub(super) fn resource(given: Input<String>) -> Input<SubscribedUsers> {
    let text = match &given {
        Input::Value(text) => text.clone(),
        Input::Missing | Input::Unreadable(_) => String::new(),
    };
    given.parse_with(|given| {
        let rest = strip_ignoring_case(given.strip_prefix('/').unwrap_or(given), PRESENCES)?;
        let users = match rest {
            "" | "/" => WatchedUsers { everyone: true, user_ids: Input::Missing },
            rest => named(ids(rest)?),
        };
        Some(SubscribedUsers { resource: text, users })
    })
}

fn named(ids: Vec<String>) -> WatchedUsers {
    let user_ids = Input::Value(ids.into_iter().map(Input::text).collect());
    WatchedUsers { everyone: false, user_ids }
}

/// The ids behind the resource of all presences.
fn ids(rest: &str) -> Option<Vec<String>> {
    if let Some(id) = rest.strip_prefix('/') {
        let is_id = !id.contains(['/', '?', '\'']);
        return is_id.then(|| vec![id.to_owned()]);
    }
    if let Some(key) = rest.strip_prefix("('").and_then(|rest| rest.strip_suffix("')")) {
        return Some(vec![key.replace("''", "'")]);
    }
    let filter = strip_ignoring_case(rest.strip_prefix('?')?, "$filter=")?;
    literals(filter, ID)
}

fn strip_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids of a resource; `None` if it is of no known form. Everybody is `*`.
    fn read(text: &str) -> Option<Vec<String>> {
        let Input::Value(SubscribedUsers { users, .. }) = resource(Input::text(text.to_owned())) else {
            return None;
        };
        let WatchedUsers { everyone: false, user_ids: Input::Value(ids) } = users else {
            return Some(vec!["*".to_owned()]);
        };
        let text = |id| if let Input::Value(id) = id { id } else { String::new() };
        Some(ids.into_iter().map(text).collect())
    }

    #[test]
    fn each_form_of_graph_and_everybody_are_read() {
        for (text, ids) in [
            ("communications/presences", &["*"][..]),
            ("/communications/presences", &["*"]),
            ("/Communications/Presences/", &["*"]),
            ("communications/presences/a@b", &["a@b"]),
            ("/communications/presences('a''b')", &["a'b"]),
            ("/communications/presences?$filter=id in ('a','b')", &["a", "b"]),
            ("communications/presences?$FILTER=ID IN ( 'a' , 'b' )", &["a", "b"]),
            ("communications/presences?$filter=id eq 'a'", &["a"]),
        ] {
            assert_eq!(read(text).unwrap(), ids, "{text}");
        }
    }

    #[test]
    fn no_other_resource_is_read() {
        for text in [
            "users/a/presence",
            "communications/presencesx",
            "//communications/presences",
            "communications/presences/a/b",
            "communications/presences/a?x=1",
            "communications/presences?$filter=availability eq 'Busy'",
            "communications/presences?$filter=id in ('a'",
            "communications/presences?id=a",
            "communications/presences(a)",
            "/me/messages",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
