//! The tables of all settings and of all metrics, made from the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::TcpStream,
    time::Duration,
};

use clap::{Arg, CommandFactory};
use presenced::settings::Cli;

use crate::support::{
    client::{Api, Client},
    database::Engine,
    golden::is_golden,
    metrics::scrape,
    server::Server,
    wait::eventually,
};
use crate::watch::Watcher;

const SETTINGS: &str = "# Settings

Which settings does the service have? Each is a flag or an environment variable; the flag
takes precedence, and an empty variable counts as not given. An unknown variable `PRESENCE_…`
is an error at start if it resembles a known one, and otherwise a warning. `presenced --help`
has the same texts, `-h` the ten that people use most, and `presenced --print-config` the
values in effect. A test generates this page.
";

#[test]
fn the_settings_are_what_is_kept_in_docs() {
    let mut text = SETTINGS.to_owned();
    let mut heading = None;
    for argument in Cli::command().get_arguments().filter(|argument| argument.get_env().is_some()) {
        let under = argument.get_help_heading().unwrap_or("Service");
        if heading.replace(under) != Some(under) {
            writeln!(text, "\n## {under}\n\n| flag | variable | default | meaning |\n|---|---|---|---|")
                .unwrap();
        }
        text += &setting(argument);
    }
    is_golden("docs/settings.md", &text);
}

/// A row of the table.
fn setting(argument: &Arg) -> String {
    let flag = argument.get_long().unwrap();
    let variable = argument.get_env().unwrap().to_str().unwrap();
    let takes_value = argument.get_action().takes_values();
    let values = if takes_value { argument.get_possible_values() } else { Vec::new() };
    let name = argument.get_value_names().and_then(<[_]>::first).filter(|_| takes_value && values.is_empty());
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    let default = match argument.get_default_values().first().map(|value| value.to_str().unwrap()) {
        Some(value) if takes_value && !value.is_empty() => format!("`{value}`"),
        _ if takes_value => "none".to_owned(),
        _ => "off".to_owned(),
    };
    let help = argument.get_long_help().or(argument.get_help()).unwrap().to_string();
    let mut meaning = help.split_whitespace().collect::<Vec<_>>().join(" ");
    meaning.truncate(meaning.trim_end_matches('.').len());
    for value in values {
        let of_value = value.get_help().map(ToString::to_string).unwrap_or_default();
        write!(meaning, ". `{}`: {of_value}", value.get_name()).unwrap();
    }
    format!("| `--{flag}{name}` | `{variable}` | {default} | {} |\n", meaning.replace('|', "\\|"))
}

const METRICS: &str = "# Metrics

Which metrics does `/metrics` of `--admin-addr` have? It uses the OpenMetrics text format; a
histogram `NAME` is `NAME_bucket`, `NAME_sum` and `NAME_count`. A metric with labels appears
after its first event. A test generates this page.

| label | values |
|---|---|
| api | `grpc`, `http` |
| operation | the operations of both APIs, such as `set_presence`; `unknown` for an unknown path |
| code | gRPC's names (`OK`, `UNAVAILABLE`) or HTTP's numbers (`200`, `503`); `client_closed` if the client closed the request before the response |
| statement | `set_sessions`, `clear_sessions`, `extend_sessions`, `load`, `load_history`, `update_user`, `list_users`, `count_users`, `erase_author`, `erase_user`, `export_user`, `create_subscription`, `subscription`, `subscriptions`, `update_subscription`, `delete_subscription`; from the read replica `replica_load` and so on |
| pool | database connections of: `workers`, `main` (health, cleanup, sampler, watch hub), `replica` (the read replica) |
| state | of a database connection: `busy`, `idle`. Of a subscription: `active`, `failing` (the last delivery failed), `paused` (its access token has expired) |
| outcome | of a request with notifications: `delivered`, `gone` (410), `rejected` (another status), `timeout`, `no_connection`, `tls_failed`, `forbidden` (the address is not allowed), `broken` |
| part | of the memory of clients: `connections`, `requests` |
| reason | why the service closed a connection: `header_timeout`, `idle_timeout`, `send_timeout`, `resets`. Why it accepted none: `connections_max`, `memory`. Why a request was cut: `send_timeout`, `drain_timeout`. Why one was refused: `connection_memory`, `memory`, `malformed`. Why a stream ended: `client` (it ended, cancelled or disconnected), `token` (expired), `age`, `stop`, `taken` (another call has the session), `store` (a message could not be written), `message` (a refused message, also above the rate limit), `fault` |

| metric | type | labels | meaning |
|---|---|---|---|
";

#[tokio::test]
async fn the_metrics_are_what_is_kept_in_docs() {
    let server = Server::start_tuned(Engine::Sqlite, &[], |settings| {
        settings.limits.header_timeout = Duration::from_millis(100);
    })
    .await;
    let addresses = server.addresses;
    for api in [Api::Grpc, Api::Http] {
        let client = Client::new(api, addresses.grpc, addresses.http);
        client.set("u", "app", "Busy/InACall", "").await;
        client.get("u").await;
        client.clear("u", "app").await;
    }
    drop(Watcher::open(addresses, &["u"]).await);
    let unknown = reqwest::Client::new().post(format!("http://{}/v1.0/$batch", addresses.http));
    unknown.body(r#"{"unknown":1}"#).send().await.unwrap();
    // One that says nothing is closed, and counted.
    let _silent = TcpStream::connect(addresses.http).unwrap();
    let mut text = String::new();
    let closed = async || {
        text = scrape(addresses.admin).await;
        text.contains("presence_connections_timed_out_total{")
            && text.contains("presence_streams_ended_total{")
    };
    eventually("the silent connection is closed", closed).await;
    is_golden("docs/metrics.md", &(METRICS.to_owned() + &metrics(&text)));
}

/// The rows of the table, in the order of the scrape.
fn metrics(scrape: &str) -> String {
    let labels = labels(scrape);
    let mut rows = String::new();
    let mut help = "";
    for line in scrape.lines() {
        if let Some((_, text)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            help = text.trim_end_matches('.');
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let labels = labels.get(name).into_iter().flatten();
        let labels = labels.flat_map(|label| ["`", label, "` "]).collect::<String>();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        writeln!(rows, "| `{name}{suffix}` | {kind} | {labels}| {help} |").unwrap();
    }
    rows
}

/// The labels of each metric, but for a bucket's bound.
fn labels(scrape: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, rest)) = line.split_once('{') else { continue };
        let suffixes = ["_total", "_info", "_bucket", "_sum", "_count"];
        let name = suffixes.iter().find_map(|suffix| series.strip_suffix(suffix)).unwrap_or(series);
        let pairs = rest.split_once('}').unwrap().0.split(',');
        let names = pairs.filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
        found.entry(name).or_default().extend(names.filter(|name| *name != "le"));
    }
    found
}
