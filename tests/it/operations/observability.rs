//! The dashboard and the alerts query existing metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::Url;
use serde_json::Value;

use crate::{
    support::{
        client::{Api, Client, Outcome},
        database::Engine,
        metrics::value,
        on_every_engine,
        process::unused_address,
        server::Server,
        wait::{eventually, holds_in_time, pass_time},
    },
    watch::Watcher,
};

const MISSING: &str = "promtool and prometheus: run scripts/test, which installs them";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap()
}

/// The series of each metric, and the labels of each, from the table in the docs.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::new();
    for row in read("docs/metrics.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        // Those of the target itself.
        let own = ["instance", "job"].into_iter();
        let labels: BTreeSet<_> = cells[3].split(['`', ' ']).filter(|label| !label.is_empty()).collect();
        let labels: BTreeSet<String> = labels.into_iter().chain(own).map(str::to_owned).collect();
        if cells[2] == "histogram" {
            let bucket = labels.iter().cloned().chain(["le".to_owned()]).collect();
            known.insert(format!("{name}_bucket"), bucket);
            known.insert(format!("{name}_sum"), labels.clone());
            known.insert(format!("{name}_count"), labels);
        } else {
            known.insert(name.to_owned(), labels);
        }
    }
    known.insert("up".to_owned(), ["instance", "job"].map(str::to_owned).into());
    known
}

/// The queries of each panel with its legend.
fn panels() -> Vec<(String, String, String)> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/dashboard.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (text(&panel["title"]), text(&target["expr"]), text(&target["legendFormat"])))
    });
    targets.collect()
}

/// The words of a query, each with the text that follows it.
fn words(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut rest = query;
    std::iter::from_fn(move || {
        rest = &rest[rest.find(word)?..];
        let found;
        (found, rest) = rest.split_at(rest.find(|character| !word(character)).unwrap_or(rest.len()));
        Some((found, rest))
    })
}

/// The number of metrics in the query. An error if the query or the legend names a missing
/// metric or label.
fn metrics_of(
    known: &BTreeMap<String, BTreeSet<String>>,
    query: &str,
    legend: &str,
) -> Result<usize, String> {
    let mut labels = BTreeSet::new();
    let mut metrics = 0;
    for (name, _) in words(query).filter(|(name, _)| name.starts_with("presence_") || *name == "up") {
        labels.extend(known.get(name).ok_or_else(|| format!("there is no {name}: {query}"))?);
        metrics += 1;
    }
    let mut asked: Vec<&str> =
        legend.split("{{").skip(1).filter_map(|part| part.split("}}").next()).collect();
    for (word, behind) in words(query) {
        if ["=", "!=", "=~", "!~"].iter().any(|by| behind.starts_with(&format!("{by}\""))) {
            asked.push(word);
        }
        if ["by", "on", "without", "ignoring"].contains(&word) {
            let listed = behind.trim_start().trim_start_matches('(').split(')').next().unwrap();
            asked.extend(listed.split(", "));
        }
    }
    match asked.into_iter().find(|label| !labels.contains(&(*label).to_owned())) {
        Some(label) => Err(format!("no label {label}: {query}, {legend}")),
        None => Ok(metrics),
    }
}

#[test]
fn the_dashboard_and_the_alerts_use_existing_metrics_and_labels() {
    let known = known();
    assert!(known.len() > 20, "{known:?}");
    let panels = panels();
    for (_, query, legend) in &panels {
        assert!(metrics_of(&known, query, legend).unwrap() > 0, "{query}");
    }
    let shown: String = panels.iter().map(|(_, query, _)| query.as_str()).collect();
    for metric in read("docs/metrics.md").lines().filter_map(|line| line.strip_prefix("| `presence_")) {
        let metric = format!("presence_{}", metric.split('`').next().unwrap());
        assert!(shown.contains(&metric), "no panel shows {metric}");
    }

    let alerts = read("deploy/prometheus/alerts.yml");
    let rules: Vec<_> = alerts.split("- alert: ").skip(1).collect();
    let (tested, told) = (read("tests/it/operations/alerts.yml"), read("docs/troubleshooting.md"));
    assert!(panels.len() > 20 && rules.len() > 5, "{} panels, {} alerts", panels.len(), rules.len());
    for rule in &rules {
        let query = rule.split("expr:").nth(1).unwrap().split("for:").next().unwrap();
        assert!(metrics_of(&known, query, "").unwrap() > 0, "{query}");
        let name = rule.lines().next().unwrap();
        assert!(tested.contains(&format!("alertname: {name}\n")), "no test of {name}");
        assert!(told.contains(&format!("`{name}`")), "no advice for {name}");
    }
    println!("{} queries of panels, {} alerts", panels.len(), rules.len());
}

#[test]
fn a_missing_metric_or_label_is_an_error() {
    let known = known();
    let right = "sum by (api, le) (rate(presence_request_duration_seconds_bucket{operation=~\"get.*\"}[5m]))";
    assert_eq!(metrics_of(&known, right, "{{api}}"), Ok(1));
    for (query, legend, error) in [
        ("presence_nothing", "", "there is no presence_nothing: "),
        ("presence_request_duration_seconds", "", "there is no presence_request_duration_seconds: "),
        ("presence_ready{api=\"grpc\"}", "", "no label api: "),
        ("sum by (state) (presence_ready)", "", "no label state: "),
        ("presence_ready", "{{api}}", "no label api: "),
    ] {
        let found = metrics_of(&known, query, legend).unwrap_err();
        assert!(found.starts_with(error), "{query}: {found}");
    }
}

#[test]
fn prometheus_takes_its_settings_and_every_alert_fires_when_it_should() {
    for arguments in [
        ["check", "config", "deploy/prometheus/prometheus.yml"],
        ["test", "rules", "tests/it/operations/alerts.yml"],
    ] {
        let output = Command::new("promtool").args(arguments).current_dir(file("")).output().expect(MISSING);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}

on_every_engine![the_metrics_of_the_history_are_read_once_a_minute];

async fn the_metrics_of_the_history_are_read_once_a_minute(engine: Engine) {
    let server = Server::start(engine).await;
    let service = server.addresses;
    let metric = async |name: &str| value(service.admin, name).await;
    let oldest = "presence_history_oldest_span_timestamp_seconds";
    let client = Client::new(Api::Grpc, service.grpc, service.http);
    for pair in ["Busy/InACall", "Busy/InACall", "Away/Away"] {
        assert_eq!(client.set("u", "app", pair, "").await, Outcome::Done);
    }
    assert_eq!(client.clear("u", "app").await, Outcome::Done);
    assert!((metric("presence_history_spans_total").await - 2.0).abs() < f64::EPSILON);
    pass_time(Duration::from_secs(70)).await;
    eventually("the next sample has the spans", async || metric(oldest).await > 0.0).await;
    assert!((metric(oldest).await - 1_795_315_800.0).abs() < 2.0, "the end of the first span, in seconds");
    assert!(metric("presence_history_bytes").await > 0.0);
}

/// Prometheus scrapes the service every second. Every query returns a number.
#[tokio::test]
async fn every_panel_shows_data_of_a_live_service() {
    let server = Server::start_tuned(Engine::Sqlite, &[], |settings| {
        settings.limits.header_timeout = Duration::from_millis(100);
    })
    .await;
    let service = server.addresses;
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("prometheus.yml");
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: presenced, static_configs: [{{targets: \
         ['{}']}}]}}]\n",
        service.admin
    );
    fs::write(&settings, scrape).unwrap();
    let address = unused_address();
    let _prometheus = tokio::process::Command::new("prometheus")
        .arg(format!("--config.file={}", settings.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect(MISSING);

    let mut watcher = Watcher::open(service, &["u"]).await;
    let _silent = std::net::TcpStream::connect(service.http).unwrap();
    let clients = [Api::Grpc, Api::Http].map(|api| Client::new(api, service.grpc, service.http));
    let mut blank = panels();
    let asked = blank.len();
    let all = holds_in_time(async || {
        for client in &clients {
            client.set("u", "app", "Busy/InACall", "").await;
            client.get("u").await;
            client.clear("u", "app").await;
        }
        drop(Watcher::open(service, &["u"]).await);
        let unknown = reqwest::Client::new().post(format!("http://{}/v1.0/$batch", service.http));
        unknown.body(r#"{"unknown":1}"#).send().await.unwrap();
        let mut still = Vec::new();
        for (title, query, legend) in blank.drain(..) {
            if !shows(&address, &query).await {
                still.push((title, query, legend));
            }
        }
        blank = still;
        blank.is_empty()
    });
    let read_on = async {
        loop {
            watcher.next().await;
        }
    };
    let done = tokio::select! { done = all => done, () = read_on => false };
    assert!(done, "panels without data: {blank:#?}");
    println!("{asked} queries, each with data");
}

/// Whether the query returns a number.
async fn shows(prometheus: &str, query: &str) -> bool {
    let query = query.replace("$__rate_interval", "10s").replace("$instance", ".*");
    let url =
        Url::parse_with_params(&format!("http://{prometheus}/api/v1/query"), [("query", &query)]).unwrap();
    let Ok(response) = reqwest::get(url).await else { return false };
    let response: Value = response.json().await.unwrap_or_default();
    assert_ne!(response["status"], "error", "{query}: {response}");
    let results = response["data"]["result"].as_array().into_iter().flatten();
    results.filter_map(|result| result["value"][1].as_str()).any(|value| value != "NaN")
}
