//! Reads the caller's span from a request's headers (W3C Trace Context).
//!
//! OpenTelemetry's propagator parses the headers. It accepts more than the standard does,
//! so this file checks the shape of `traceparent` and shortens `tracestate` first.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The length of a `traceparent` of version 00, in bytes.
const TRACEPARENT_BYTES: usize = 55;

/// The length of the `tracestate` that is kept, in bytes: the standard's minimum.
const TRACESTATE_MAX_BYTES: usize = 512;

/// The caller's span. Invalid headers count as missing, as the standard requires.
pub(super) fn remote(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (values.next(), values.next()) else { return None };
    let parent = parent.to_str().ok().filter(|parent| is_well_formed(parent))?;
    let headers = TraceHeaders { parent, state: state(headers) };
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    context.has_active_span().then(|| context.span().span_context().clone())
}

/// The headers for the propagator.
struct TraceHeaders<'a> {
    parent: &'a str,
    state: String,
}

impl Extractor for TraceHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.parent),
            TRACESTATE => Some(&self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

/// Whether the parts have the standard's lengths, without a sign. Versions after 00 may
/// append more parts.
fn is_well_formed(parent: &str) -> bool {
    let Some((known, rest)) = parent.split_at_checked(TRACEPARENT_BYTES) else { return false };
    let rest_fits = rest.is_empty() || (rest.starts_with('-') && !known.starts_with("00"));
    rest_fits && !known.contains('+') && known.split('-').map(str::len).eq([2, 32, 16, 2])
}

/// The whole entries of `tracestate` that fit. The newest entries come first.
fn state(headers: &HeaderMap) -> String {
    let values = headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok());
    let state = values.collect::<Vec<_>>().join(",");
    match state.get(..=TRACESTATE_MAX_BYTES) {
        Some(longer) => longer.rsplit_once(',').map_or("", |(kept, _)| kept).to_owned(),
        None => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(parents: &[&str], states: &[&str]) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        let values = parents.iter().map(|value| (TRACEPARENT, value));
        for (name, value) in values.chain(states.iter().map(|value| (TRACESTATE, value))) {
            headers.append(name, value.parse().unwrap());
        }
        remote(&headers)
    }

    #[test]
    fn the_standards_example_is_read() {
        let parent = parse(&[VALID], &[]).unwrap();
        assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled() && parent.is_remote());
        let is_sampled = |flags: &str| parse(&[&VALID.replace("-01", flags)], &[]).unwrap().is_sampled();
        assert!(!is_sampled("-00"));
        assert!(!is_sampled("-02"), "another flag");
        let later = format!("{}-more", VALID.replace("00-4b", "01-4b"));
        assert!(parse(&[&later], &[]).is_some(), "a later version");
    }

    #[test]
    fn an_invalid_traceparent_counts_as_missing() {
        for invalid in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert!(parse(&[invalid], &[]).is_none(), "{invalid:?}");
        }
        assert!(parse(&[VALID, VALID], &[]).is_none(), "a duplicate");
    }

    #[test]
    fn the_first_512_bytes_of_the_state_are_kept() {
        let kept = |states: &[&str]| parse(&[VALID], states).unwrap().trace_state().header();
        assert_eq!(kept(&["a=1", "b=2,c=3"]), "a=1,b=2,c=3");
        let [a, b] = ["a=", "b="].map(|key| format!("{key}{}", "x".repeat(253)));
        let fits = format!("{a},{b}x");
        assert_eq!(fits.len(), TRACESTATE_MAX_BYTES);
        assert_eq!(kept(&[&fits]), fits);
        assert_eq!(kept(&[&fits, "c=3"]), fits);
        assert_eq!(kept(&["c=3", &fits]), format!("c=3,{a}"));
        assert_eq!(kept(&["x".repeat(TRACESTATE_MAX_BYTES + 1).as_str()]), "");
    }
}
