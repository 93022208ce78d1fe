//! Responses whose clients take too little of them within the send timeout of a minute.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use presenced_tools::process::Process;
use tokio::{task::JoinSet, time::sleep};

use super::{Line, Lines, unless};
use crate::{
    attacks::{Http2, get_all, read_at},
    report::{metrics, value},
};

/// The responses on each connection.
const RESPONSES: usize = 40;
/// The pause between the starts of two responses on a connection.
const START_PAUSE: Duration = Duration::from_millis(50);
/// The time in which the stalled ones are cut: the send timeout, with a margin.
const CUT_WITHIN: Duration = Duration::from_secs(75);

pub(super) async fn check(lines: &mut Lines) {
    let process = Process::start("sqlite::memory:", &[]).await;
    let mut checks = JoinSet::new();
    for (window, is_cut) in [(0, true), (1, true), (1_000, false)] {
        checks.spawn(one(process.http, window, is_cut));
    }
    while let Some(line) = checks.join_next().await {
        lines.add(line.unwrap());
    }
    let counted =
        value(&metrics(process.admin), r#"presence_requests_cut_total{api="http",reason="send_timeout"}"#);
    let cut = 2 * RESPONSES;
    lines.add(Line {
        tried: format!("presence_requests_cut_total after {cut} stalled responses"),
        figure: counted.to_string(),
        wrong: unless([(counted == cut as u64, "wrong number")]),
    });
}

async fn one(http: std::net::SocketAddr, window: u32, is_cut: bool) -> Line {
    let connection = Arc::new(Http2::connect(http, window).await.expect("the service accepts"));
    let (cut, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut readers = JoinSet::new();
    for response in 0..RESPONSES {
        let (connection, cut, begun) = (Arc::clone(&connection), Arc::clone(&cut), Arc::clone(&begun));
        readers.spawn(async move {
            sleep(START_PAUSE * u32::try_from(response).unwrap()).await;
            let (request, body) = get_all();
            let Ok(mut response) = connection.send(request, body).await else { return };
            if response.status() != 200 {
                return;
            }
            begun.fetch_add(1, Ordering::Relaxed);
            if read_at(response.body_mut(), window, |_| ()).await.is_err() {
                cut.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let stopwatch = Instant::now();
    let (mut small, mut failures, mut last) = (0, Vec::new(), Duration::ZERO);
    while stopwatch.elapsed() < CUT_WITHIN {
        let before = cut.load(Ordering::Relaxed);
        sleep(Duration::from_secs(1)).await;
        match connection.set("beside").await {
            Ok(200) => small += 1,
            Ok(status) => failures.push(status.to_string()),
            Err(error) => failures.push(error.to_string()),
        }
        if cut.load(Ordering::Relaxed) > before {
            last = stopwatch.elapsed();
        }
    }
    let (cut, begun) = (cut.load(Ordering::Relaxed), begun.load(Ordering::Relaxed));
    Line {
        tried: format!("{RESPONSES} responses read at {window} B/s through a window of {window} bytes"),
        figure: format!(
            "{begun} begun, {cut} cut, the last after {last:.0?}; {small} small calls beside them, {} failed {}",
            failures.len(),
            failures.first().map_or("", String::as_str)
        ),
        wrong: unless([
            (begun == RESPONSES, "refused"),
            (cut == if is_cut { RESPONSES } else { 0 }, "wrong number of cuts"),
            (failures.is_empty(), "small calls failed"),
        ]),
    }
}
