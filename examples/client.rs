//! Sets and reads a presence until Enter is pressed: `client ADDRESS,ADDRESS`

#![expect(
    clippy::indexing_slicing,
    clippy::pedantic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "generated code; an example prints"
)]

use std::{env, io, thread, time::Duration};

use pb::{
    Activity, Availability, GetPresenceRequest, SetPresenceRequest,
    presence_service_client::PresenceServiceClient,
};
use tokio::{sync::watch, time::sleep};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};

mod pb {
    tonic::include_proto!("presence.v1");
}

type Client = PresenceServiceClient<Channel>;

/// The time of one try. The service gives up after 2.8 s and says why.
const DEADLINE: Duration = Duration::from_secs(3);
/// Tries of one call.
const ATTEMPTS: usize = 8;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// One channel for each replica. tonic has no retries, and its own balancing picks replicas that are
/// down, too.
struct Replicas {
    clients: Vec<Client>,
    /// The replica of the next try.
    next: usize,
}

impl Replicas {
    /// Channels connect on use, and again after a failure. For TLS: `https://`, and `tls_config`.
    fn connect(addresses: &str) -> Result<Self, tonic::transport::Error> {
        let client = |address| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?
                .connect_timeout(Duration::from_secs(1))
                .http2_keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(5));
            Ok(Client::new(endpoint.connect_lazy()))
        };
        Ok(Self { clients: addresses.split(',').map(client).collect::<Result<_, _>>()?, next: 0 })
    }

    /// Calls until a replica responds. Every write is safe to repeat.
    async fn call<T>(
        &mut self,
        call: impl AsyncFn(Client) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        let mut pause = PAUSE_MIN;
        for attempt in 1.. {
            self.next = (self.next + 1) % self.clients.len();
            match call(self.clients[self.next].clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if attempt == ATTEMPTS || !is_passing(&status) => return Err(status),
                // Another replica may respond at once.
                Err(_) if attempt < self.clients.len() => {}
                Err(status) => {
                    sleep(pushback(&status).unwrap_or(pause)).await;
                    pause = (3 * pause).min(PAUSE_MAX);
                }
            }
        }
        unreachable!("the last attempt returns")
    }
}

/// Whether a retry may succeed: the service says so, or the connection was lost. That is UNAVAILABLE,
/// UNKNOWN, INTERNAL or CANCELLED.
fn is_passing(status: &Status) -> bool {
    use Code::{Cancelled, DeadlineExceeded, Internal, Unavailable, Unknown};
    match status.metadata().get("grpc-retry-pushback-ms") {
        Some(_) => pushback(status).is_some(),
        None => matches!(status.code(), Unavailable | Unknown | Internal | Cancelled | DeadlineExceeded),
    }
}

/// The service's delay. It is negative if a retry cannot succeed.
fn pushback(status: &Status) -> Option<Duration> {
    let delay = status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?;
    delay.parse().ok().map(Duration::from_millis)
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// Sets and reads a presence.
async fn call(replicas: &mut Replicas) -> Result<(), Status> {
    let session = SetPresenceRequest {
        user_id: "ada".to_owned(),
        session_id: "desk:call-1".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        ..Default::default()
    };
    replicas.call(async |mut client| client.set_presence(timed(session.clone())).await).await?;
    let get = GetPresenceRequest { user_id: "ada".to_owned(), ..Default::default() };
    replicas.call(async |mut client| client.get_presence(timed(get.clone())).await).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut replicas = Replicas::connect(&env::args().nth(1).ok_or("usage: client ADDRESS,ADDRESS")?)?;
    let (end, ended) = watch::channel(false);
    thread::spawn(move || io::stdin().read_line(&mut String::new()).map(|_| end.send(true)));
    let (mut calls, mut failed) = (0, 0);
    while !*ended.borrow() {
        if let Err(status) = call(&mut replicas).await {
            failed += 1;
            println!("-- failed: {:?}: {}", status.code(), status.message());
        }
        calls += 1;
        if calls % 100 == 0 {
            println!("-- calls: {calls}");
        }
        sleep(Duration::from_millis(5)).await;
    }
    println!("-- ended: {calls} calls, {failed} failed");
    Ok(())
}
