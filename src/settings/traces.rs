//! Where traces go.

use std::str::FromStr;

use clap::Args;
use http::Uri;

/// Settings of traces; the comments are the text of `--help`.
#[expect(clippy::doc_markdown, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// The collector that traces are sent to, by OTLP over gRPC, e.g. http://collector:4317; none if empty.
    /// One that is down or slow holds up nothing: traces are lost.
    #[arg(long, env = "PRESENCE_OTLP_ENDPOINT", default_value = "", global = true, value_name = "URL")]
    pub otlp_endpoint: OtlpEndpoint,

    /// The share of requests that are traced, from 0 to 1, among those whose caller does not say; of the
    /// others the caller decides (traceparent).
    #[arg(
        long,
        env = "PRESENCE_OTLP_SAMPLE_RATIO",
        default_value_t = 0.01,
        global = true,
        value_name = "RATIO"
    )]
    #[arg(value_parser = ratio)]
    pub otlp_sample_ratio: f64,
}

/// The URL of a collector, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(pub Option<String>);

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        // Only OTLP over HTTP has a path, and a password would be sent to nobody, but logged.
        let fits = |url: &Uri| {
            let host = url.authority().is_some_and(|host| !host.as_str().contains('@'));
            matches!(url.scheme_str(), Some("http" | "https"))
                && host
                && url.path_and_query().is_none_or(|path| path == "/")
        };
        match text.parse::<Uri>() {
            Ok(url) if fits(&url) => Ok(Self(Some(text.to_owned()))),
            _ => Err("must be such as http://collector:4317".to_owned()),
        }
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_endpoint_is_none_and_a_wrong_one_is_refused() {
        let endpoint = |text: &str| text.parse::<OtlpEndpoint>().map(|endpoint| endpoint.0);
        assert_eq!(endpoint(""), Ok(None));
        for good in ["http://collector:4317", "https://collector:4317/", "http://[::1]:4317"] {
            assert_eq!(endpoint(good), Ok(Some(good.to_owned())));
        }
        for wrong in
            ["collector:4317", "http://", "http://a:4318/v1/traces", "http://me:b@a", "ftp://a", "http://a?b"]
        {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        assert_eq!(ratio("0.5"), Ok(0.5));
        for wrong in ["", "2", "-1", "NaN", "much"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }
}
