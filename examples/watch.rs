//! Follows the presence of users over gRPC: `watch ada bob`.

#![expect(
    clippy::pedantic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "generated code; an example prints"
)]

use std::{collections::HashMap, env, error::Error, fs, time::Duration};

use pb::{
    Presence, WatchPresencesRequest, presence_service_client::PresenceServiceClient,
    watch_presences_response::Event,
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status, transport::Endpoint};

mod pb {
    tonic::include_proto!("presence.v1");
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

struct Watcher {
    endpoint: Endpoint,
    user_ids: Vec<String>,
    /// A stream that is silent for this time is broken.
    silence: Duration,
    /// The presence of each user.
    presences: HashMap<String, Presence>,
    /// The pause before the next stream.
    pause: Duration,
}

impl Watcher {
    /// Follows until a retry cannot help.
    async fn follow(&mut self) -> Status {
        loop {
            let status = match self.follow_one_stream().await {
                Ok(()) => Status::unavailable("the stream ended"),
                Err(status) => status,
            };
            if matches!(status.code(), Code::InvalidArgument | Code::PermissionDenied) {
                return status;
            }
            println!("-- lost: {:?}: {}", status.code(), status.message());
            // A random pause, so that clients do not return all at once.
            sleep(self.pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            self.pause = PAUSE_MAX.min(self.pause * 2);
        }
    }

    async fn follow_one_stream(&mut self) -> Result<(), Status> {
        let mut request =
            Request::new(WatchPresencesRequest { user_ids: self.user_ids.clone(), ..Default::default() });
        if let Some(token) = token() {
            let value = format!("Bearer {token}").parse();
            request
                .metadata_mut()
                .insert("authorization", value.map_err(|_| Status::internal("invalid token"))?);
        }
        let open = async {
            // On a new connection: the old one may be broken.
            let connection = self.endpoint.connect().await;
            let connection = connection.map_err(|error| Status::from_error(error.into()))?;
            PresenceServiceClient::new(connection).watch_presences(request).await
        };
        let mut stream = within(self.silence, open).await?.into_inner();
        while let Some(message) = within(self.silence, stream.message()).await? {
            match message.event {
                Some(Event::Presence(presence)) => {
                    println!("{} {:?}/{:?}", presence.user_id, presence.availability(), presence.activity());
                    self.presences.insert(presence.user_id.clone(), presence);
                }
                Some(Event::SnapshotComplete(_)) => {
                    println!("-- snapshot complete: {} users", self.presences.len());
                    self.pause = PAUSE_MIN;
                }
                Some(Event::Heartbeat(_)) | None => {}
            }
        }
        Ok(())
    }
}

async fn within<T>(time: Duration, wait: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(time, wait).await.unwrap_or_else(|_| Err(Status::unavailable("silence")))
}

/// The access token, read before each stream: the last one may have expired.
fn token() -> Option<String> {
    let text = fs::read_to_string(env::var("PRESENCE_TOKEN_FILE").ok()?).ok()?;
    Some(text.trim().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("PRESENCE_URL").unwrap_or_else(|_| "http://localhost:50051".to_owned());
    let heartbeat = env::var("PRESENCE_HEARTBEAT").ok().and_then(|text| text.parse().ok());
    let mut watcher = Watcher {
        // For TLS: .tls_config(ClientTlsConfig::new().with_native_roots())?
        endpoint: Endpoint::from_shared(url)?,
        user_ids: env::args().skip(1).collect(),
        silence: 3 * Duration::from_secs(heartbeat.unwrap_or(15)),
        presences: HashMap::new(),
        pause: PAUSE_MIN,
    };
    Err(watcher.follow().await.message().into())
}
