//! Slow clients, idle ones, and busy workers, on paused time.

use super::*;
use crate::{
    server::{Incoming, Slots, hand},
    telemetry::Api,
};
use tokio::sync::mpsc;

/// An HTTP/2 client with a window of so many bytes for each response.
async fn http2_with_window(
    bytes: u32,
    stop: CancellationToken,
) -> (h2::client::SendRequest<Bytes>, JoinHandle<End>) {
    let (client, ended, _) = serve_until(Protocol::Http2, LIMITS, stop);
    let (requests, connection) =
        h2::client::Builder::new().initial_window_size(bytes).handshake(client).await.unwrap();
    tokio::spawn(connection);
    (requests, ended)
}

#[tokio::test(start_paused = true)]
async fn a_stalled_response_is_reset_and_its_connection_goes_on() {
    for window in [0, 1, 1_000, 20_000] {
        let (requests, ended) = http2_with_window(window, CancellationToken::new()).await;
        let stopwatch = Stopwatch::start();
        let mut stalled = Vec::new();
        for _ in 0..10 {
            let mut ready = requests.clone().ready().await.unwrap();
            let (response, _) = ready.send_request(post("/large"), true).unwrap();
            stalled.push(response.await.unwrap().into_body());
        }
        // Another response that makes progress, and a quiet stream, change nothing.
        let mut ready = requests.clone().ready().await.unwrap();
        let (quiet, _) = ready.send_request(post("/quiet"), true).unwrap();
        let mut quiet = quiet.await.unwrap().into_body();
        for body in &mut stalled {
            let error = loop {
                let mut ready = requests.clone().ready().await.unwrap();
                drop(ready.send_request(post("/empty"), true).unwrap().0.await.unwrap());
                // It takes a byte a second of each response, which is too slow, too.
                match timeout(Duration::from_secs(1), body.data()).await {
                    Ok(Some(Ok(bytes))) => {
                        sleep(Duration::from_secs(1)).await;
                        body.flow_control().release_capacity(bytes.len().min(1)).unwrap();
                    }
                    Ok(Some(Err(error))) => break error,
                    Ok(None) => panic!(
                        "the response is complete, with a window of {window} after {:?}",
                        stopwatch.elapsed()
                    ),
                    Err(_) => {}
                }
            };
            assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{error}");
        }
        let took = stopwatch.elapsed();
        assert!((LIMITS.send_timeout..LIMITS.send_timeout * 3).contains(&took), "{window}: {took:?}");
        assert!(timeout(LIMITS.send_timeout * 2, quiet.data()).await.is_err(), "the quiet stream is open");
        assert!(!ended.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_response_that_is_read_slowly() {
    for protocol in [Protocol::Http2, Protocol::Http1Or2] {
        let stop = CancellationToken::new();
        let (client, ended, memory) = serve_until(protocol, LIMITS, stop.clone());
        let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
        tokio::spawn(connection);
        let (response, _) = requests.send_request(post("/large"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        stop.cancel();
        let (stopwatch, mut received) = (Stopwatch::start(), 0);
        while let Some(bytes) = body.data().await {
            let length = bytes.unwrap().len();
            received += length;
            // 32 bytes a millisecond.
            sleep(Duration::from_millis(length as u64 / 32)).await;
            body.flow_control().release_capacity(length).unwrap();
        }
        assert_eq!(received, 1_024 * 1_024);
        assert!(stopwatch.elapsed() > Duration::from_secs(30), "{:?}", stopwatch.elapsed());
        drop((body, requests));
        assert_eq!(ended.await.unwrap().1, None);
        assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_keeps_no_buffers() {
    for (version, body) in [("1.1", "5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"), ("1.0", "firstsecond")] {
        let (mut client, ended, memory) = serve_until(Protocol::Http1Or2, LIMITS, CancellationToken::new());
        let get = format!("GET /events HTTP/{version}\r\nhost: a\r\n\r\n");
        client.write_all(get.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let [connections, requests] = memory.parts().map(|part| part.taken);
        assert!(connections <= 6_000 && requests <= 10_000, "{connections} {requests}");
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        let (head, sent) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        assert_eq!(head.contains("transfer-encoding: chunked"), version == "1.1", "{head}");
        assert_eq!(sent, body);
        assert_eq!(ended.await.unwrap().1, None);
    }
    // A client that leaves ends the stream, and one that does not read is cut.
    for leaves in [true, false] {
        let (mut client, ended, memory) = serve_until(Protocol::Http1Or2, LIMITS, CancellationToken::new());
        client.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let stopwatch = Stopwatch::start();
        if leaves {
            drop(client);
            assert_eq!(ended.await.unwrap().1, None);
            assert!(stopwatch.elapsed() < Duration::from_secs(1));
        } else {
            assert_eq!(ended.await.unwrap().1, Some(TimedOut::Send));
        }
        assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_an_endless_response_that_is_not_read() {
    for protocol in [Protocol::Http2, Protocol::Http1Or2] {
        let stop = CancellationToken::new();
        let (mut client, ended, memory) = serve_until(protocol, LIMITS, stop.clone());
        let (stopwatch, paused);
        if protocol == Protocol::Http2 {
            let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
            tokio::spawn(connection);
            let (response, _) = requests.send_request(post("/endless"), true).unwrap();
            paused = Some(response.await.unwrap());
        } else {
            client.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            paused = None;
        }
        sleep(Duration::from_secs(10)).await;
        assert!(!ended.is_finished());
        stop.cancel();
        stopwatch = Stopwatch::start();
        ended.await.unwrap();
        assert!(stopwatch.elapsed() < Duration::from_secs(5), "{protocol:?}: {:?}", stopwatch.elapsed());
        assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
        drop(paused);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_http_1_connection_keeps_no_buffers() {
    let (mut client, ended, memory) = serve_until(Protocol::Http1Or2, LIMITS, CancellationToken::new());
    let taken = || memory.parts().map(|part| part.taken);
    let mut bytes = vec![0; NETWORK_BYTES];
    for _ in 0..3 {
        client.write_all(GET.as_bytes()).await.unwrap();
        assert!(client.read(&mut bytes).await.unwrap() > 0);
        let [connections, buffers] = taken();
        assert!(connections <= 6_000 && buffers > 8_192, "{connections} {buffers}");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(taken(), [connections, 0]);
    }
    // The first bytes of a request are not lost when they arrive alone.
    let (first, rest) = GET.split_at(3);
    client.write_all(first.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    client.write_all(rest.as_bytes()).await.unwrap();
    assert!(client.read(&mut bytes).await.unwrap() > 0);
    drop(client);
    assert_eq!(ended.await.unwrap().1, None);
    assert_eq!(taken(), [0, 0]);
}

#[tokio::test]
async fn a_busy_worker_delays_no_connection_of_another() {
    let metrics = ConnectionMetrics::unregistered();
    let slots = Slots::new(10, metrics);
    let (workers, mut queues): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel(1)).unzip();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = || {
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Incoming { api: Api::Http, stream, slot: slots.take().unwrap() }
    };
    // The first worker in turn is busy with the first connection.
    for _ in 0..2 {
        hand(connect(), &workers, 0).await;
    }
    assert!(queues[0].try_recv().is_ok() && queues[1].try_recv().is_ok());
    // When all are busy, the connection waits for the first that is not.
    for _ in 0..2 {
        hand(connect(), &workers, 0).await;
    }
    let waits = async { hand(connect(), &workers, 0).await };
    let frees = async {
        sleep(Duration::from_millis(20)).await;
        queues[1].try_recv().unwrap();
    };
    timeout(Duration::from_secs(10), async { tokio::join!(waits, frees) }).await.expect("it is handed over");
}
