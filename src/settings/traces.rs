//! Settings of traces.

use std::str::FromStr;

use clap::Args;
use http::Uri;

/// Settings of traces; the comments of fields are the text of `--help`.
#[expect(clippy::doc_markdown, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// URL of the collector that receives traces by OTLP over gRPC, such as http://collector:4317.
    /// Traces are off without it. If the collector is slow or unavailable, traces are lost and requests
    /// are not delayed.
    #[arg(long, env = "PRESENCE_OTLP_ENDPOINT", global = true, value_name = "URL")]
    pub otlp_endpoint: Option<OtlpEndpoint>,

    /// Share of requests that are traced, from 0 to 1. It applies to requests without the header
    /// traceparent; for all others, that header decides.
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

/// The URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

impl OtlpEndpoint {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Only OTLP over HTTP has a path. A password would not be sent, but logged.
        let is_valid = |url: &Uri| {
            let host = url.authority().is_some_and(|host| !host.as_str().contains('@'));
            matches!(url.scheme_str(), Some("http" | "https"))
                && host
                && url.path_and_query().is_none_or(|path| path == "/")
        };
        match text.parse::<Uri>() {
            Ok(url) if is_valid(&url) => Ok(Self(text.to_owned())),
            _ => Err("must be a URL without a path, such as http://collector:4317".to_owned()),
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
    fn an_endpoint_is_a_url_without_a_path_or_a_password() {
        for valid in ["http://collector:4317", "https://collector:4317/", "http://[::1]:4317"] {
            assert_eq!(valid.parse::<OtlpEndpoint>().unwrap().as_str(), valid);
        }
        for invalid in [
            "",
            "collector:4317",
            "http://",
            "http://a:4318/v1/traces",
            "http://me:b@a",
            "ftp://a",
            "http://a?b",
        ] {
            assert!(invalid.parse::<OtlpEndpoint>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        assert_eq!(ratio("0.5"), Ok(0.5));
        for invalid in ["", "2", "-1", "NaN", "much"] {
            assert!(ratio(invalid).is_err(), "{invalid}");
        }
    }
}
