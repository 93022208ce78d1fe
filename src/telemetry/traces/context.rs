//! Which trace a request belongs to, as its headers say: W3C Trace Context.

use http::{HeaderMap, HeaderName};
use opentelemetry::{
    SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceState},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `traceparent` of version 00: `00-…-…-01`.
const TRACEPARENT_LENGTH: usize = 55;

/// What is kept of `tracestate`, in characters: what the standard asks for.
const TRACESTATE_LENGTH_MAX: usize = 512;

/// The caller's span. What is malformed counts as not given, as the standard
/// demands. What other systems keep in `tracestate` is read of a sampled trace
/// alone: of another nothing is sent to anybody.
pub(super) fn remote(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return None };
    let (trace_id, span_id, flags) = parse(only.to_str().ok()?)?;
    let state = if flags.is_sampled() { state(headers) } else { TraceState::NONE };
    Some(SpanContext::new(trace_id, span_id, flags, true, state))
}

fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = text.split_at_checked(TRACEPARENT_LENGTH)?;
    let mut parts = known.split('-');
    let mut number = |digits| hex(parts.next()?, digits);
    let (version, trace_id, span_id, flags) = (number(2)?, number(32)?, number(16)?, number(2)?);
    // A version to come may have more behind it; ff is none.
    let fits = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    if !fits || version == 0xff || trace_id == 0 || span_id == 0 {
        return None;
    }
    let flags = TraceFlags::new(u8::try_from(flags).ok()?) & TraceFlags::SAMPLED;
    Some((trace_id.into(), u64::try_from(span_id).ok()?.into(), flags))
}

/// A number of so many hexadecimal digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let fits = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if fits { u128::from_str_radix(text, 16).ok() } else { None }
}

/// Whole entries, from the front, where the latest are.
fn state(headers: &HeaderMap) -> TraceState {
    let given = headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok());
    let given = given.collect::<Vec<_>>().join(",");
    let kept = match given.get(..=TRACESTATE_LENGTH_MAX) {
        Some(more) => more.rsplit_once(',').map_or("", |(kept, _)| kept),
        None => &given,
    };
    kept.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_what_the_standard_shows() {
        let (trace_id, span_id, flags) = parse(GOOD).unwrap();
        assert_eq!(trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span_id.to_string(), "00f067aa0ba902b7");
        assert!(flags.is_sampled());
        assert!(!parse(&GOOD.replace("-01", "-00")).unwrap().2.is_sampled());
        assert!(!parse(&GOOD.replace("-01", "-02")).unwrap().2.is_sampled(), "another flag");
        assert!(parse(&format!("{}-more", GOOD.replace("00-4b", "01-4b"))).is_some(), "a version to come");
    }

    #[test]
    fn ignores_what_is_malformed() {
        for malformed in [
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
            assert!(parse(malformed).is_none(), "{malformed:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(TRACEPARENT, GOOD.parse().unwrap());
        assert!(remote(&twice).is_some());
        twice.append(TRACEPARENT, GOOD.parse().unwrap());
        assert!(remote(&twice).is_none(), "nobody knows which one");
    }

    #[test]
    fn keeps_as_much_of_the_state_as_the_standard_asks_for() {
        let kept = |given: &[&str]| {
            let mut headers = HeaderMap::new();
            for given in given {
                headers.append(TRACESTATE, given.parse().unwrap());
            }
            state(&headers).header()
        };
        assert_eq!(kept(&["a=1", "b=2,c=3"]), "a=1,b=2,c=3");
        let [a, b] = ["a=", "b="].map(|key| format!("{key}{}", "x".repeat(253)));
        let fits = format!("{a},{b}x");
        assert_eq!(fits.len(), TRACESTATE_LENGTH_MAX);
        assert_eq!(kept(&[&fits]), fits);
        assert_eq!(kept(&[&fits, "c=3"]), fits);
        assert_eq!(kept(&["c=3", &fits]), format!("c=3,{a}"));
        assert_eq!(kept(&["x".repeat(TRACESTATE_LENGTH_MAX + 1).as_str()]), "");
    }
}
