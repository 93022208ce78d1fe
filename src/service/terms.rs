//! The terms of each API in error messages: the names of values, and the format of durations.

use std::time::Duration;

use jiff::SignedDuration;
use strum::VariantArray as _;

use crate::{
    presence::{Availability, Pair, Placeholder, WorkLocationType, proto_name},
    telemetry::Api,
};

/// Why a text is refused as an id, and what was probably meant.
pub(super) const fn not_placeholder(placeholder: Placeholder, api: Api) -> &'static str {
    match (placeholder, api) {
        (Placeholder::Wildcard, _) => "must be one id: `*` does not stand for all",
        (Placeholder::Me, Api::Grpc) => "must be an id: only the HTTP API's path /me stands for the caller",
        (Placeholder::Me, Api::Http) => "must be an id: only the path /me stands for the caller",
        (Placeholder::Delta, _) => "must be an id: `delta` is a query of Graph, which this service lacks",
        (Placeholder::Unset, _) => "must be an id, not the text of a value that is not set",
        (Placeholder::Template, _) => "must be an id, not a placeholder that the caller did not replace",
        (Placeholder::NilGuid, _) => {
            "must be an id, not the nil GUID, which is the value of an unset variable"
        }
    }
}

/// `AVAILABILITY_BUSY / ACTIVITY_IN_A_CALL` or `Busy / InACall`.
pub(super) fn pair_name(Pair { availability, activity }: Pair, api: Api) -> String {
    match api {
        Api::Grpc => {
            let availability = proto_name("AVAILABILITY", availability.into());
            format!("{availability} / {}", proto_name("ACTIVITY", activity.into()))
        }
        Api::Http => format!("{availability} / {activity}"),
    }
}

/// `AVAILABILITY_AVAILABLE, AVAILABILITY_BUSY, …` or `Available, Busy, …`.
pub(super) fn availability_names(api: Api) -> String {
    let names = Availability::VARIANTS.iter().map(|value| match api {
        Api::Grpc => proto_name("AVAILABILITY", value.into()),
        Api::Http => value.to_string(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// `WORK_LOCATION_TYPE_TIME_OFF` or `timeOff`.
pub(super) fn location_name(value: WorkLocationType, api: Api) -> String {
    match (api, value) {
        (Api::Grpc, _) => proto_name("WORK_LOCATION_TYPE", value.into()),
        (Api::Http, WorkLocationType::Office) => "office".to_owned(),
        (Api::Http, WorkLocationType::Remote) => "remote".to_owned(),
        (Api::Http, WorkLocationType::TimeOff) => "timeOff".to_owned(),
    }
}

/// `300.5s`, as in the JSON of protobuf, or `PT5M0.5S`, as in ISO 8601.
pub(super) fn duration(value: Duration, api: Api) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match api {
        Api::Grpc if value.subsec_nanos() == 0 => format!("{}s", value.as_secs()),
        Api::Grpc => {
            let fraction = format!("{:09}", value.subsec_nanos());
            format!("{}.{}s", value.as_secs(), fraction.trim_end_matches('0'))
        }
        Api::Http => {
            let (days, rest) =
                (value.as_secs() / DAY, Duration::new(value.as_secs() % DAY, value.subsec_nanos()));
            let time = SignedDuration::try_from(rest).unwrap_or(SignedDuration::ZERO).to_string();
            match (days, rest.is_zero()) {
                (0, _) => time,
                (_, true) => format!("P{days}D"),
                (_, false) => format!("P{days}D{}", time.trim_start_matches('P')),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_format_of_the_api() {
        for (millis, grpc, http) in [
            (0, "0s", "PT0S"),
            (1, "0.001s", "PT0.001S"),
            (299_999, "299.999s", "PT4M59.999S"),
            (14_401_000, "14401s", "PT4H1S"),
            (365 * 86_400_000, "31536000s", "P365D"),
            (365 * 86_400_000 + 1_000, "31536001s", "P365DT1S"),
        ] {
            let value = Duration::from_millis(millis);
            assert_eq!([Api::Grpc, Api::Http].map(|api| duration(value, api)), [grpc, http]);
        }
        assert_eq!(duration(Duration::MAX, Api::Http), "P213503982334601DT7H15.999999999S");
    }
}
