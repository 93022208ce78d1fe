//! The methods of the API.

use std::collections::BTreeSet;

use crate::service::Error;

/// The path of the method that accepts a larger message than others.
pub(super) const WATCH: &str = "/presence.v1.PresenceService/WatchPresences";

/// The path of the method whose request is a stream.
pub(super) const HOLD: &str = "/presence.v1.PresenceService/HoldPresence";

/// The beginning of the paths of reflection.
const REFLECTION: &str = "/grpc.reflection.";

/// The longest name of a method or service that an error repeats, in characters.
const NAME_MAX: usize = 64;

/// A method of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// The path of its calls.
    pub(super) path: &'static str,
    /// Its name in metrics, logs and traces.
    pub(super) operation: &'static str,
    public: bool,
}

impl Method {
    /// The method at `path`; `None` if it is unknown. There are no methods of reflection without
    /// `reflection`.
    pub(super) fn find(path: &str, reflection: bool) -> Option<Self> {
        METHODS.iter().copied().find(|method| method.path == path && method.exists(reflection))
    }

    /// Whether the method needs no access token, because it returns no data of users.
    pub(super) const fn is_public(self) -> bool {
        self.public
    }

    /// Whether a call may send any number of messages.
    pub(super) fn takes_stream(self) -> bool {
        self.path == HOLD || self.is_reflection()
    }

    /// Whether the response is a stream that follows a state until it is ended.
    pub(super) fn is_endless(self) -> bool {
        matches!(self.operation, "watch_presences" | "hold_presence" | "keep_presence" | "health_watch")
    }

    /// Whether a call may wait for others than the database: as long as it asks, or for the receivers of
    /// a subscription.
    pub(super) fn waits(self) -> bool {
        matches!(self.operation, "wait_for_presence" | "create_subscription")
    }

    fn is_reflection(self) -> bool {
        self.path.starts_with(REFLECTION)
    }

    fn exists(self, reflection: bool) -> bool {
        reflection || !self.is_reflection()
    }

    /// The names of the service and of the method.
    fn names(self) -> (&'static str, &'static str) {
        names(self.path).unwrap_or_default()
    }
}

/// The names of the service and of the method in a path.
fn names(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some((service, method))
}

/// The error of a call of an unknown method. It names what exists.
pub(super) fn unknown(path: &str, reflection: bool) -> Error {
    let cut = |name: &str| name.chars().take(NAME_MAX).collect::<String>();
    let all = METHODS.iter().filter(|method| method.exists(reflection)).map(|method| method.names());
    let services: BTreeSet<_> = all.clone().map(|(service, _)| service).collect();
    let services = Vec::from_iter(services).join(", ");
    let Some((service, name)) = names(path) else {
        let path = cut(path);
        let text = format!("`{path}` is not the path of a method. The services are: {services}.");
        return Error::not_supported(text);
    };
    let methods: BTreeSet<_> = all.filter(|(of, _)| *of == service).map(|(_, name)| name).collect();
    let (service, name) = (cut(service), cut(name));
    Error::not_supported(if methods.is_empty() {
        format!("There is no service {service}. The services are: {services}.")
    } else {
        let methods = Vec::from_iter(methods).join(", ");
        format!("{service} has no method {name}. Its methods are: {methods}.")
    })
}

const METHODS: [Method; 33] = [
    protected("/presence.v1.PresenceService/SetPresence", "set_presence"),
    protected("/presence.v1.PresenceService/ClearPresence", "clear_presence"),
    protected("/presence.v1.PresenceService/GetPresence", "get_presence"),
    protected("/presence.v1.PresenceService/BatchGetPresences", "batch_get_presences"),
    protected("/presence.v1.PresenceService/BatchSetPresences", "batch_set_presences"),
    protected("/presence.v1.PresenceService/BatchClearPresences", "batch_clear_presences"),
    protected("/presence.v1.PresenceService/SetUserPreferredPresence", "set_user_preferred_presence"),
    protected("/presence.v1.PresenceService/ClearUserPreferredPresence", "clear_user_preferred_presence"),
    protected("/presence.v1.PresenceService/SetStatusMessage", "set_status_message"),
    protected("/presence.v1.PresenceService/SetManualLocation", "set_manual_location"),
    protected("/presence.v1.PresenceService/SetAutomaticLocation", "set_automatic_location"),
    protected("/presence.v1.PresenceService/ClearAutomaticLocation", "clear_automatic_location"),
    protected("/presence.v1.PresenceService/ClearLocation", "clear_location"),
    protected("/presence.v1.PresenceService/ExplainPresence", "explain_presence"),
    protected("/presence.v1.PresenceService/ListPresenceHistory", "list_presence_history"),
    protected("/presence.v1.PresenceService/ErasePresence", "erase_presence"),
    protected("/presence.v1.PresenceService/ExportPresence", "export_presence"),
    protected(WATCH, "watch_presences"),
    protected(HOLD, "hold_presence"),
    protected("/presence.v1.PresenceService/KeepPresence", "keep_presence"),
    protected("/presence.v1.PresenceService/ListPresences", "list_presences"),
    protected("/presence.v1.PresenceService/CountPresences", "count_presences"),
    protected("/presence.v1.PresenceService/WaitForPresence", "wait_for_presence"),
    protected("/presence.v1.PresenceService/CreateSubscription", "create_subscription"),
    protected("/presence.v1.PresenceService/GetSubscription", "get_subscription"),
    protected("/presence.v1.PresenceService/ListSubscriptions", "list_subscriptions"),
    protected("/presence.v1.PresenceService/UpdateSubscription", "update_subscription"),
    protected("/presence.v1.PresenceService/DeleteSubscription", "delete_subscription"),
    public("/grpc.health.v1.Health/Check", "health_check"),
    public("/grpc.health.v1.Health/List", "health_list"),
    public("/grpc.health.v1.Health/Watch", "health_watch"),
    public("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "reflection"),
    public("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "reflection"),
];

const fn protected(path: &'static str, operation: &'static str) -> Method {
    Method { path, operation, public: false }
}

const fn public(path: &'static str, operation: &'static str) -> Method {
    Method { path, operation, public: true }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::grpc::pb::DESCRIPTORS;

    #[test]
    fn every_method_has_its_name_as_operation_and_needs_a_token() {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        let mut methods = 0;
        for file in files.iter().filter(|file| file.package() == "presence.v1") {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let found = Method::find(&path, false).expect(&path);
                    assert_eq!(found.takes_stream(), method.client_streaming(), "{path}");
                    let words = method.name().chars().flat_map(|letter| {
                        letter
                            .is_ascii_uppercase()
                            .then_some('_')
                            .into_iter()
                            .chain([letter.to_ascii_lowercase()])
                    });
                    let words: String = words.collect();
                    assert_eq!((found.operation, found.is_public()), (words.trim_start_matches('_'), false));
                    methods += 1;
                }
            }
        }
        assert_eq!(methods, 28);
    }
}
