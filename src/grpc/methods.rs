//! The methods of the API.

/// The path of the method that accepts a larger message than others.
pub(super) const WATCH: &str = "/presence.v1.PresenceService/WatchPresences";

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
    /// The method at `path`; `None` if it is unknown.
    pub(super) fn find(path: &str) -> Option<Self> {
        METHODS.iter().copied().find(|method| method.path == path)
    }

    /// Whether the method needs no access token, because it returns no data of users.
    pub(super) const fn is_public(self) -> bool {
        self.public
    }
}

const METHODS: [Method; 24] = [
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
    protected("/presence.v1.PresenceService/HoldPresence", "hold_presence"),
    protected("/presence.v1.PresenceService/KeepPresence", "keep_presence"),
    public("/grpc.health.v1.Health/Check", "health_check"),
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
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let found = Method::find(&path).expect(&path);
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
        assert_eq!(methods, 20);
    }
}
