//! Watching through a real server.

mod changes;
mod ends;
mod events;
mod everyone;
mod faults;
mod seconds;
mod time;
mod truth;
mod wait;

use std::time::Duration;

use presenced::{
    app::Addresses,
    grpc::pb::{
        BatchSetPresencesRequest, SetPresenceRequest, WatchPresencesRequest, WatchPresencesResponse,
        presence_service_client::PresenceServiceClient, watch_presences_response::Event,
    },
};
use tokio::time::timeout;
use tonic::{Status, Streaming, transport::Channel};

use crate::support::{
    client::{Api, Client, activity_number, availability_number, words},
    server::Server,
};

/// A timeout that is longer than any step here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A watch stream.
pub struct Watcher {
    stream: Streaming<WatchPresencesResponse>,
}

impl Watcher {
    /// Opens a stream on its own connection.
    pub async fn open(addresses: Addresses, users: &[&str]) -> Self {
        Self::try_open(addresses, users).await.unwrap()
    }

    pub async fn try_open(addresses: Addresses, users: &[&str]) -> Result<Self, Status> {
        let mut client = PresenceServiceClient::new(connect(addresses).await);
        let user_ids = users.iter().map(ToString::to_string).collect();
        let stream = client
            .watch_presences(WatchPresencesRequest { user_ids, ..Default::default() })
            .await?
            .into_inner();
        Ok(Self { stream })
    }

    /// Opens a stream and checks its snapshot.
    pub async fn of(addresses: Addresses, users: &[&str], expected: &[&str]) -> Self {
        let mut watcher = Self::open(addresses, users).await;
        assert_eq!(watcher.snapshot().await, expected);
        watcher
    }

    /// Returns the next event: a presence, or the name of another event.
    pub async fn next(&mut self) -> String {
        self.try_next().await.unwrap()
    }

    /// Returns the next event that is no heartbeat.
    async fn next_change(&mut self) -> String {
        loop {
            let event = self.next().await;
            if event != "heartbeat" {
                return event;
            }
        }
    }

    /// Returns the presences before the marker, in the order of the users.
    async fn snapshot(&mut self) -> Vec<String> {
        let mut presences = Vec::new();
        loop {
            match self.next_change().await {
                marker if marker == "snapshot complete" => break,
                presence => presences.push(presence),
            }
        }
        presences.sort();
        presences
    }

    async fn try_next(&mut self) -> Result<String, Status> {
        let response = timeout(PATIENCE, self.stream.message()).await.expect("the stream sends something")?;
        Ok(match response.expect("the stream ends with a status").event.expect("an event") {
            Event::Presence(presence) => words(&presence),
            Event::SnapshotComplete(_) => "snapshot complete".to_owned(),
            Event::Heartbeat(_) => "heartbeat".to_owned(),
        })
    }

    /// Returns the status of the stream's end, and skips the events before.
    pub async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.try_next().await {
                return status;
            }
        }
    }
}

/// Connects with a small window, so that the client buffers little.
pub async fn connect(addresses: Addresses) -> Channel {
    const WINDOW_BYTES: u32 = 65_535;
    let endpoint = Channel::from_shared(format!("http://{}", addresses.grpc)).unwrap();
    let endpoint =
        endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    endpoint.connect().await.unwrap()
}

fn client(server: &Server) -> Client {
    Client::new(Api::Grpc, server.addresses.grpc, server.addresses.http)
}

fn set_request(user: &str, pair: &str) -> SetPresenceRequest {
    let (availability, activity) = pair.split_once('/').unwrap();
    SetPresenceRequest {
        user_id: user.to_owned(),
        session_id: "app".to_owned(),
        availability: availability_number(availability),
        activity: activity_number(activity),
        expiration_duration: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..Default::default()
    }
}

/// Sets a session of each user for an hour.
async fn set_all(addresses: Addresses, users: &[&str], pair: &str) {
    let mut client = PresenceServiceClient::new(connect(addresses).await);
    for users in users.chunks(1_000) {
        let requests = users.iter().map(|user| set_request(user, pair)).collect();
        client.batch_set_presences(BatchSetPresencesRequest { requests }).await.unwrap();
    }
}

/// Returns the value of a metric without labels.
pub async fn metric(addresses: Addresses, name: &str) -> u64 {
    let text =
        reqwest::get(format!("http://{}/metrics", addresses.admin)).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}
