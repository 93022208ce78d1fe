//! Shows a user as in a call until Enter is pressed, over gRPC:
//!
//! `session refresh ada desk:call-1` sets the session, and refreshes it every two minutes.
//! `session hold ada desk:call-1` holds the session by an open stream.

#![expect(
    clippy::disallowed_methods,
    clippy::pedantic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "generated code; an example prints and reads the clock"
)]

use std::{
    env, fs, io,
    pin::pin,
    thread,
    time::{Duration, SystemTime},
};

use futures_util::stream;
use pb::{
    Activity, Availability, ClearPresenceRequest, HoldPresenceRequest, SetPresenceRequest,
    hold_presence_response::Event, presence_service_client::PresenceServiceClient,
};
use prost_types::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

mod pb {
    tonic::include_proto!("presence.v1");
}

/// The service gives up after 2.8 s and says why. A shorter deadline only hides the reason.
const DEADLINE: Duration = Duration::from_secs(3);
/// The service extends a session every 7.5 s with the default grace. A quieter stream is broken.
const SILENCE: Duration = Duration::from_secs(15);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A call of a user, which the session shows until `ended`.
struct Call {
    endpoint: Endpoint,
    /// Connects on use, and again after a failure.
    client: PresenceServiceClient<Channel>,
    user_id: String,
    session_id: String,
    /// When the call began. With it, a refresh or a new stream cannot undo what was observed later.
    began: Timestamp,
    ended: watch::Receiver<bool>,
}

impl Call {
    /// Sets the session, and again every two minutes, because it expires after five.
    async fn refresh(&mut self) -> Result<(), Status> {
        let refresh = env::var("PRESENCE_REFRESH").ok().and_then(|seconds| seconds.parse().ok());
        let mut pause = Pause::new();
        while !self.has_ended() {
            match self.set().await {
                Ok(()) => {
                    println!("-- set");
                    pause = Pause::new();
                    self.wait(Duration::from_secs(refresh.unwrap_or(120))).await;
                }
                Err(status) => self.wait(pause.after(status)?).await,
            }
        }
        self.clear().await
    }

    async fn set(&mut self) -> Result<(), Status> {
        let request = SetPresenceRequest {
            user_id: self.user_id.clone(),
            session_id: self.session_id.clone(),
            availability: Availability::Busy.into(),
            activity: Activity::InACall.into(),
            observed_time: Some(self.began),
            ..Default::default()
        };
        self.client.set_presence(with_token(request, Some(DEADLINE))?).await?;
        Ok(())
    }

    /// Ends the session. Every write is safe to retry.
    async fn clear(&mut self) -> Result<(), Status> {
        let mut pause = Pause::new();
        loop {
            let request = ClearPresenceRequest {
                user_id: self.user_id.clone(),
                session_id: self.session_id.clone(),
                ..Default::default()
            };
            match self.client.clear_presence(with_token(request, Some(DEADLINE))?).await {
                Ok(_) => return Ok(()),
                // The session has ended already, for example by the first try of this call.
                Err(status) if status.code() == Code::NotFound => return Ok(()),
                Err(status) => sleep(pause.after(status)?).await,
            }
        }
    }

    /// Holds the session. Another stream replaces a broken one within the grace of 15 s.
    async fn hold(&mut self) -> Result<(), Status> {
        let mut pause = Pause::new();
        while !self.has_ended() {
            match self.hold_by_one_stream(&mut pause).await {
                // The service has cleared the session.
                Ok(()) => return Ok(()),
                Err(status) => self.wait(pause.after(status)?).await,
            }
        }
        self.clear().await
    }

    async fn hold_by_one_stream(&mut self, pause: &mut Pause) -> Result<(), Status> {
        let first = HoldPresenceRequest {
            user_id: self.user_id.clone(),
            session_id: self.session_id.clone(),
            availability: Availability::Busy.into(),
            activity: Activity::InACall.into(),
            observed_time: Some(self.began),
            ..Default::default()
        };
        // Dropping the sender ends the client's side of the stream.
        let (sender, mut messages) = mpsc::channel(1);
        let mut sender = sender.try_send(first).is_ok().then_some(sender);
        let messages = stream::poll_fn(move |context| messages.poll_recv(context));
        let request = with_token(messages, None)?;
        let endpoint = self.endpoint.clone();
        let open = async {
            // A new connection: the last one may be broken.
            let connection = endpoint.connect().await;
            let connection = connection.map_err(|error| Status::from_error(error.into()))?;
            PresenceServiceClient::new(connection).hold_presence(request).await
        };
        let mut events = within(SILENCE, open).await?.into_inner();
        loop {
            let event = {
                let mut next = pin!(within(SILENCE, events.message()));
                tokio::select! {
                    event = &mut next => event,
                    _ = self.ended.wait_for(|ended| *ended), if sender.is_some() => {
                        sender = None;
                        next.await
                    }
                }
            };
            let Some(event) = event? else { return Ok(()) };
            let expiry = match event.event {
                Some(Event::SessionSet(set)) => set.expire_time,
                Some(Event::SessionExtended(extended)) => extended.expire_time,
                None => continue,
            };
            println!("-- held until {}", expiry.unwrap_or_default());
            *pause = Pause::new();
        }
    }

    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits for the time, or until the call has ended.
    async fn wait(&mut self, time: Duration) {
        let _ = timeout(time, self.ended.wait_for(|ended| *ended)).await;
    }
}

/// The pause before a retry: the service's delay, or else longer each time.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// Returns the pause after an error, or the error if a retry cannot help.
    fn after(&mut self, status: Status) -> Result<Duration, Status> {
        let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
        let is_fatal = match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented => true,
            // It passes only if the service names a delay.
            Code::ResourceExhausted => delay.is_none(),
            _ => false,
        };
        if is_fatal {
            return Err(status);
        }
        println!("-- lost: {}", describe(&status));
        let pause = delay.unwrap_or(self.0);
        self.0 = PAUSE_MAX.min(self.0 * 2);
        // A random addition, so that clients do not return all at once.
        Ok(pause.mul_f64(1.0 + fastrand::f64() / 2.0))
    }
}

/// The reason in the details of an error, its message, and the invalid fields. An error of a proxy or
/// of the network has no details.
fn describe(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = match details.error_info() {
        Some(info) => info.reason.clone(),
        None => format!("{:?}", status.code()),
    };
    let violations = details.bad_request().map(|request| request.field_violations.as_slice());
    let fields = violations.unwrap_or_default().iter().map(|violation| violation.field.as_str());
    format!("{reason}: {} {}", status.message(), fields.collect::<Vec<_>>().join(" "))
}

async fn within<T>(time: Duration, wait: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(time, wait).await.unwrap_or_else(|_| Err(Status::unavailable("silence")))
}

/// The request with the access token, read before each call: the last one may have expired.
fn with_token<T>(message: T, deadline: Option<Duration>) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    if let Some(text) = env::var("PRESENCE_TOKEN_FILE").ok().and_then(|path| fs::read_to_string(path).ok()) {
        let value = format!("Bearer {}", text.trim()).parse();
        request.metadata_mut().insert("authorization", value.map_err(|_| Status::internal("invalid token"))?);
    }
    Ok(request)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [command, user_id, session_id] = arguments.as_slice() else {
        return Err("usage: session refresh|hold USER SESSION".to_owned());
    };
    let url = env::var("PRESENCE_URL").unwrap_or_else(|_| "http://localhost:50051".to_owned());
    // For TLS: .tls_config(ClientTlsConfig::new().with_native_roots())
    let endpoint = Endpoint::from_shared(url).map_err(|error| error.to_string())?;
    let (enter, ended) = watch::channel(false);
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        enter.send(true)
    });
    let mut call = Call {
        client: PresenceServiceClient::new(endpoint.connect_lazy()),
        endpoint,
        user_id: user_id.clone(),
        session_id: session_id.clone(),
        began: SystemTime::now().into(),
        ended,
    };
    let result = if command == "hold" { call.hold().await } else { call.refresh().await };
    result.map_err(|status| format!("-- failed: {}", describe(&status)))?;
    println!("-- cleared");
    Ok(())
}
