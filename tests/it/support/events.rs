//! A client of Server-Sent Events.

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

use crate::watch::PATIENCE;

/// An event stream of the HTTP API.
pub struct EventStream {
    response: Response,
    /// The text that was received and not parsed yet.
    text: String,
}

impl EventStream {
    /// Checks the headers of a response that streams events.
    pub fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("text/event-stream"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-accel-buffering"), Some("no"));
        assert_eq!((header("content-encoding"), header("content-length")), (None, None));
        assert!(header("request-id").is_some());
        Self { response, text: String::new() }
    }

    /// Returns the text before the next empty line, or `None` at the end of the body.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                return Some(block.trim_end().to_owned());
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("the stream sends something");
            let Some(chunk) = chunk.expect("the body ends without an error") else {
                assert_eq!(self.text, "", "the last event is complete");
                return None;
            };
            self.text.push_str(str::from_utf8(&chunk).unwrap());
        }
    }

    /// Returns the name and the data of the next event.
    pub async fn next(&mut self) -> (String, Value) {
        let block = self.block().await.expect("one more event");
        let (name, data) = block.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    }

    /// Returns the error in the last event, and checks that the stream ends.
    pub async fn end(mut self) -> Value {
        let (name, data) = self.next().await;
        assert_eq!(name, "error");
        assert_eq!(self.block().await, None);
        let own = self.response.headers()["request-id"].to_str().unwrap();
        assert_eq!(data["error"]["innerError"]["request-id"], own);
        data["error"].clone()
    }
}
