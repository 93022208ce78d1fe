//! Validation of subscriptions.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Field, Input, Path, Received, Rule, WatchedUsers, input::quote, terms::duration, validator::Validator,
    watched::ValidUsers,
};
use crate::{
    notify::{Certificate, Receivers, SigningKey, Url},
    presence::{Timestamp, USER_IDS_MAX, parse_guid},
    store::EncryptionCertificate,
    telemetry::Api,
};

/// The longest client state, and the longest id of a certificate, in Unicode characters. Graph:
/// subscription.
const SHORT_TEXT_MAX_CHARS: usize = 128;
/// The longest time for which a lower availability must last.
const SETTLE_MAX: Duration = Duration::from_mins(1);
/// The maximum number of keys that sign notifications: a current and a previous one.
const SIGNING_KEYS_MAX: usize = 2;

/// The users of a subscription, and the text in which the subscriber named them.
#[derive(Debug)]
pub struct SubscribedUsers {
    /// Graph: resource.
    pub resource: String,
    /// The users.
    pub users: WatchedUsers,
}

/// The certificate of a subscriber, as a caller sent it.
#[derive(Debug, Default)]
pub struct CertificateInput {
    /// Whether notifications have presences, which must be encrypted.
    pub include_presences: Input<bool>,
    /// The certificate in DER and base64; required with presences.
    pub certificate: Input<String>,
    /// The subscriber's name of it; required with presences.
    pub certificate_id: Input<String>,
}

impl Validator {
    /// The name of a certificate; optional.
    pub(super) fn certificate_id(&mut self, given: Input<String>) -> Option<String> {
        self.short_text(Field::EncryptionCertificateId, given)
    }

    /// The id of a subscription; required.
    pub(super) fn subscription_id(&mut self, given: Input<String>) -> Option<Uuid> {
        self.required(Field::SubscriptionId, given.parse_with(parse_guid), Rule::Guid)
    }

    /// The users of a subscription, and the text that names them; required. Only the HTTP API has a text,
    /// and names them all by one field.
    pub(super) fn subscribed_users(&mut self, given: Input<SubscribedUsers>) -> Option<(String, ValidUsers)> {
        let given = self.required(Field::Resource, given, Rule::Resource)?;
        if given.resource.is_empty() {
            return Some((String::new(), self.watched_users(given.users, USER_IDS_MAX)?));
        }
        let users = self.watched_users(given.users, USER_IDS_MAX);
        self.rename(Field::UserIds, Path::Field(Field::Resource));
        Some((given.resource, users?))
    }

    /// The URL of a receiver; required.
    pub(super) fn receiver(
        &mut self,
        field: Field,
        given: Input<String>,
        receivers: &Receivers,
    ) -> Option<Url> {
        let text = self.required(field, given, Rule::Receiver)?;
        let url = receivers.check_url(&text);
        url.map_err(|error| self.add(field, Rule::Receiver, Some(Received::Problem(error.to_string())))).ok()
    }

    /// A text of 1 to 128 characters; optional.
    pub(super) fn short_text(&mut self, field: Field, given: Input<String>) -> Option<String> {
        let rule = Rule::ShortText { max_chars: SHORT_TEXT_MAX_CHARS };
        let text = self.optional(field, given, rule)?;
        let chars = text.chars().count();
        if chars > SHORT_TEXT_MAX_CHARS || text.contains('\0') {
            let received =
                if chars > SHORT_TEXT_MAX_CHARS { format!("{chars} characters") } else { quote(&text) };
            self.add(field, rule, Some(Received::Text(received)));
            return None;
        }
        Some(text)
    }

    /// When a subscription ends: after `now`, and at most `max` after it. `default` if it is missing; else
    /// it is required.
    pub(super) fn subscription_end(
        &mut self,
        given: Input<Timestamp>,
        default: Option<Timestamp>,
        now: Timestamp,
        max: Duration,
    ) -> Option<Timestamp> {
        let field = Field::SubscriptionExpireTime;
        let at = match (given, default) {
            (Input::Missing, Some(default)) => return Some(default),
            (given, _) => self.required(field, given, Rule::Instant)?,
        };
        if at <= now || at > now + max {
            self.add(field, Rule::Within { now, max }, Some(Received::Text(at.to_string())));
            return None;
        }
        Some(at)
    }

    /// The certificate with which presences are encrypted; `None` if none are wanted.
    pub(super) fn certificate(
        &mut self,
        given: CertificateInput,
        now: Timestamp,
    ) -> Option<EncryptionCertificate> {
        let CertificateInput { include_presences, certificate, certificate_id } = given;
        if !self.optional(Field::IncludeResourceData, include_presences, Rule::Boolean)? {
            return None;
        }
        let base64 = self.certificate_text(certificate, now);
        if certificate_id == Input::Missing {
            self.add(Field::EncryptionCertificateId, Rule::Required, None);
        }
        let id = self.certificate_id(certificate_id);
        Some(EncryptionCertificate { base64: base64?, id: id? })
    }

    /// A certificate; required.
    pub(super) fn certificate_text(&mut self, given: Input<String>, now: Timestamp) -> Option<String> {
        let field = Field::EncryptionCertificate;
        let text = self.required(field, given, Rule::Certificate)?;
        match Certificate::parse(&text, now) {
            Ok(_) => Some(text),
            Err(error) => {
                self.add(field, Rule::Certificate, Some(Received::Problem(error.to_string())));
                None
            }
        }
    }

    /// How long a lower availability must last.
    pub(super) fn settle(&mut self, given: Input<Duration>) -> Option<Duration> {
        let range = Rule::Duration { min: Duration::ZERO, max: SETTLE_MAX };
        self.duration(Field::SettleDuration, given, Duration::ZERO, range)
    }

    /// Up to two keys that sign notifications.
    pub(super) fn signing_keys(&mut self, given: Vec<String>) -> Option<Vec<String>> {
        let field = Field::SigningKeys;
        if given.len() > SIGNING_KEYS_MAX {
            let rule = Rule::Items { max: SIGNING_KEYS_MAX };
            self.add(field, rule, Some(Received::Text(given.len().to_string())));
            return None;
        }
        // A key is a secret, so the error does not repeat it.
        match given.iter().find_map(|key| SigningKey::parse(key).err()) {
            Some(error) => {
                self.add(field, Rule::SigningKey, Some(Received::Problem(error.to_string())));
                None
            }
            None => Some(given),
        }
    }
}

impl Rule {
    /// The text of a rule for subscriptions.
    pub(super) fn of_subscription(self, api: Api) -> String {
        match self {
            Self::Guid => "must be a GUID".to_owned(),
            Self::Resource => format!(
                "must be `communications/presences/{{id}}`, `communications/presences?$filter=id in \
                 ('{{id}}','{{id}}',…)` with at most {USER_IDS_MAX} ids, or `communications/presences` for all \
                 users"
            ),
            Self::ChangeType => "must be \"updated\"".to_owned(),
            Self::Receiver => {
                "must be an https URL of a host on the public internet, without a user and a fragment"
                    .to_owned()
            }
            Self::Boolean => "must be true or false".to_owned(),
            Self::Certificate => "must be a valid X.509 certificate in DER and base64, with an RSA key of \
                                       2048 to 4096 bits"
                .to_owned(),
            Self::ShortText { max_chars } => {
                format!("must be a string of 1 to {max_chars} Unicode characters")
            }
            Self::Within { now, max } => {
                let max = duration(max, api);
                format!("must be later than now ({now}), and at most {max} later")
            }
            Self::SigningKey => "must be `whsec_` and 24 to 64 bytes in base64, or `whsk_` and an Ed25519 \
                                      key in base64"
                .to_owned(),
            _ => "must have another value".to_owned(),
        }
    }
}
