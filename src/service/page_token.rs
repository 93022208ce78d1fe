//! The tokens of pages. A token has the place where the page begins, and a hash of the query, so that a
//! token of another query is refused. The service keeps nothing for it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{Error, Field, Path, Rule, Violation};
use crate::presence::UserId;

/// The bytes of the hash in the token of a list of users or subscriptions.
const HASH_BYTES: usize = 6;

/// Returns a number that differs between texts. It is the FNV-1a hash, which is the same on every
/// replica.
pub(super) fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Returns the error of a token that is not of the query.
pub(super) fn wrong_token() -> Error {
    let path = Path::Field(Field::PageToken);
    Error::invalid(vec![Violation { path, rule: Rule::TokenOfThisQuery, received: None }])
}

/// Returns the token of the page of `query` that begins after a user.
pub(super) fn token_after(query: &str, user_id: &UserId) -> String {
    token_of(query, user_id.as_str())
}

/// Returns the user after whom the page begins; `None` if the token is not of `query`.
pub(super) fn user_before(query: &str, token: &str) -> Option<UserId> {
    UserId::from_normal(&place(query, token)?).ok()
}

/// Returns the token of the page of `query` that begins after a subscription.
pub(super) fn token_after_subscription(query: &str, subscription_id: Uuid) -> String {
    token_of(query, &subscription_id.to_string())
}

/// Returns the subscription after which the page begins; `None` if the token is not of `query`.
pub(super) fn subscription_before(query: &str, token: &str) -> Option<Uuid> {
    place(query, token)?.parse().ok()
}

/// Returns the token of the page of `query` that begins after a place.
fn token_of(query: &str, place: &str) -> String {
    let hash = fingerprint(&format!("{query} {place}")).to_be_bytes();
    let hash = hash.get(..HASH_BYTES).unwrap_or(&hash);
    BASE64_URL_SAFE_NO_PAD.encode([hash, place.as_bytes()].concat())
}

/// Returns the place after which the page begins; `None` if the token is not of `query`.
fn place(query: &str, token: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let place = str::from_utf8(bytes.get(HASH_BYTES..)?).ok()?;
    (token_of(query, place) == token).then(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_short_and_of_one_query() {
        let user_id = UserId::parse("fa8bf3dc-eca7-46b7-bad1-db199b62afc3").unwrap();
        let token = token_after("Busy", &user_id);
        assert_eq!(token.len(), 56);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
        assert_eq!(user_before("Busy", &token), Some(user_id));
        assert_eq!(user_before("Away", &token), None);
    }

    #[test]
    fn no_other_text_is_a_token() {
        let token = token_after("", &UserId::parse("!").unwrap());
        assert!(user_before("", &token).is_some());
        for index in 0..token.len() {
            for letter in ["A", "z", "0", "-", "_", "/", "=", "", "é"] {
                let mut changed = token.clone();
                changed.replace_range(index..=index, letter);
                let same = changed == token;
                assert_eq!(user_before("", &changed).is_some(), same, "{changed}");
            }
        }
        for text in ["", "A", "AAAAAAAA", "a", "\0", &format!("{token}="), &format!("{token}A")] {
            assert_eq!(user_before("", text), None, "{text}");
        }
    }
}
