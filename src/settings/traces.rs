//! Settings of traces.

use clap::Args;
use http::Uri;

use super::parse::Secret;

/// Settings of traces; the comments of fields are the text of `--help`.
#[expect(clippy::doc_markdown, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// URL of the collector that receives traces by OTLP over gRPC, such as http://collector:4317.
    /// Traces are off without it. If the collector is slow or unavailable, traces are lost and requests
    /// are not delayed.
    #[arg(long, env = "PRESENCE_OTLP_ENDPOINT", global = true, value_name = "URL")]
    pub otlp_endpoint: Option<Secret>,

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

impl TraceSettings {
    /// The error of the URL. It shows no part of the URL, which may have a password.
    pub(super) fn violation(&self) -> Option<String> {
        let endpoint = self.otlp_endpoint.as_ref()?;
        // Only OTLP over HTTP has a path. A password would not be sent.
        let is_valid = endpoint.expose().parse::<Uri>().is_ok_and(|url| {
            let host = url.authority().is_some_and(|host| !host.as_str().contains('@'));
            matches!(url.scheme_str(), Some("http" | "https"))
                && host
                && url.path_and_query().is_none_or(|path| path == "/")
        });
        let invalid = "--otlp-endpoint must be a URL without a path, a user and parameters, such as http://collector:4317";
        (!is_valid).then(|| invalid.to_owned())
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
        let violation = |url: &str| {
            let otlp_endpoint = Some(url.parse().unwrap());
            TraceSettings { otlp_endpoint, otlp_sample_ratio: 1.0 }.violation()
        };
        for valid in ["http://collector:4317", "https://collector:4317/", "http://[::1]:4317"] {
            assert_eq!(violation(valid), None, "{valid}");
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
            assert!(violation(invalid).is_some(), "{invalid}");
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
