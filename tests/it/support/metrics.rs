//! Metrics as a scraper reads them.

use std::net::SocketAddr;

use super::wait::eventually;

/// The text at `/metrics` of the admin listener.
pub async fn scrape(admin: SocketAddr) -> String {
    reqwest::get(format!("http://{admin}/metrics")).await.unwrap().text().await.unwrap()
}

/// The value of a series, for example `presence_connections{api="grpc"}`. A series with
/// labels that was never counted is 0.
pub async fn value(admin: SocketAddr, series: &str) -> f64 {
    let text = scrape(admin).await;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    match value {
        Some(value) => value.parse().unwrap(),
        None if series.contains('{') => 0.0,
        None => panic!("no metric {series} in {text}"),
    }
}

/// Waits until a counter has this value, and checks that it has no higher one.
pub async fn reaches(admin: SocketAddr, series: &str, expected: f64) {
    eventually(series, async || value(admin, series).await >= expected).await;
    assert!((value(admin, series).await - expected).abs() < f64::EPSILON, "{series}");
}
