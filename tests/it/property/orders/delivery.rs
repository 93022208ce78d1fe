//! Delivering writes to a replica: alone through both APIs, and in batches of both.

use std::collections::BTreeMap;

use fastrand::Rng;
use presenced::{
    app::Addresses,
    clock::Stopwatch,
    grpc::pb::{
        BatchClearPresencesRequest, BatchSetPresencesRequest, ClearOutcome, ClearPresenceRequest,
        ExplainPresenceRequest, SetOutcome, SetPresenceRequest,
        presence_service_client::PresenceServiceClient,
    },
};
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};

use super::{
    Session,
    check::{Delivery, Outcome, Write},
};
use crate::support::client::{self, Api, Client, activity_number, availability_number, proto_time, word};

/// The maximum number of writes in a batch of gRPC.
const BATCH_MAX: usize = 40;
/// The maximum number of requests in a batch of Graph.
const GRAPH_BATCH_MAX: usize = 20;

/// Writes that are delivered together.
pub(super) struct Unit {
    way: Way,
    writes: Vec<Write>,
}

#[derive(Clone, Copy)]
enum Way {
    /// One write through an API.
    Alone(Api),
    /// A call of `BatchSetPresences`, and one of `BatchClearPresences`.
    Batches,
    /// A batch of Graph.
    GraphBatch,
}

impl Unit {
    pub(super) fn alone(write: Write) -> Self {
        Self { way: Way::Alone(Api::Grpc), writes: vec![write] }
    }

    /// Takes a random number of deliveries.
    pub(super) fn take(random: &mut Rng, deliveries: &mut Vec<Write>) -> Self {
        let (way, max) = match random.u8(..10) {
            0..=4 => (Way::Alone(Api::Grpc), 1),
            5..=7 => (Way::Alone(Api::Http), 1),
            8 => (Way::Batches, BATCH_MAX),
            _ => (Way::GraphBatch, GRAPH_BATCH_MAX),
        };
        let number = random.usize(1..=max.min(deliveries.len()));
        Self { way, writes: deliveries.split_off(deliveries.len() - number) }
    }
}

/// A replica, through both APIs.
pub(super) struct Replica {
    rpc: PresenceServiceClient<Channel>,
    grpc: Client,
    http: Client,
    graph: (reqwest::Client, String),
}

impl Replica {
    pub(super) fn new(addresses: Addresses) -> Self {
        let channel = Channel::from_shared(format!("http://{}", addresses.grpc)).unwrap().connect_lazy();
        let [grpc, http] = [Api::Grpc, Api::Http].map(|api| Client::new(api, addresses.grpc, addresses.http));
        let graph = (reqwest::Client::new(), format!("http://{}/v1.0/$batch", addresses.http));
        Self { rpc: PresenceServiceClient::new(channel), grpc, http, graph }
    }

    /// Delivers the writes, and repeats those that fail with 503, as a client does.
    pub(super) async fn deliver(
        &self,
        unit: Unit,
        sessions: &[Session],
        stopwatch: &Stopwatch,
    ) -> Vec<Delivery> {
        let Unit { way, writes: mut left } = unit;
        let (from, mut retried, mut deliveries) = (stopwatch.elapsed(), false, Vec::new());
        while !left.is_empty() {
            let outcomes = self.send(way, &left, sessions).await;
            let until = stopwatch.elapsed();
            assert_eq!(outcomes.len(), left.len());
            let mut failed = Vec::new();
            for (write, outcome) in left.into_iter().zip(outcomes) {
                match outcome {
                    Some(outcome) => deliveries.push(Delivery { write, outcome, from, until, retried }),
                    None => failed.push(write),
                }
            }
            left = failed;
            retried = true;
        }
        deliveries
    }

    /// Sends writes, and returns the outcome of each; `None` for 503.
    async fn send(&self, way: Way, writes: &[Write], sessions: &[Session]) -> Vec<Option<Outcome>> {
        match way {
            Way::Alone(api) => {
                let client = if api == Api::Grpc { &self.grpc } else { &self.http };
                vec![alone(client, writes[0], &sessions[writes[0].session]).await]
            }
            Way::Batches => self.batches(writes, sessions).await,
            Way::GraphBatch => self.graph_batch(writes, sessions).await,
        }
    }

    async fn batches(&self, writes: &[Write], sessions: &[Session]) -> Vec<Option<Outcome>> {
        let (mut sets, mut clears) = (Vec::new(), Vec::new());
        for write in writes {
            let Session { user, id } = &sessions[write.session];
            let (user_id, session_id) = (user.clone(), id.clone());
            let observed_time = Some(proto_time(write.observed));
            match write.pair.and_then(|pair| pair.split_once('/')) {
                Some((availability, activity)) => sets.push(SetPresenceRequest {
                    user_id,
                    session_id,
                    availability: availability_number(availability),
                    activity: activity_number(activity),
                    expiration_duration: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
                    observed_time,
                    ..Default::default()
                }),
                None => clears.push(ClearPresenceRequest { user_id, session_id, observed_time }),
            }
        }
        let mut rpc = self.rpc.clone();
        let (mut set, mut cleared) = (vec![None; sets.len()], vec![None; clears.len()]);
        if !sets.is_empty()
            && let Some(response) =
                available(rpc.batch_set_presences(BatchSetPresencesRequest { requests: sets }).await)
        {
            set = response.outcomes().map(|outcome| Some(set_outcome(outcome))).collect();
        }
        if !clears.is_empty()
            && let Some(response) =
                available(rpc.batch_clear_presences(BatchClearPresencesRequest { requests: clears }).await)
        {
            cleared = response.outcomes().map(|outcome| Some(clear_outcome(outcome))).collect();
        }
        let (mut set, mut cleared) = (set.into_iter(), cleared.into_iter());
        let outcome = |write: &Write| {
            let own = if write.pair.is_some() { set.next() } else { cleared.next() };
            own.expect("an outcome of each item")
        };
        writes.iter().map(outcome).collect()
    }

    async fn graph_batch(&self, writes: &[Write], sessions: &[Session]) -> Vec<Option<Outcome>> {
        let request = |(id, write): (usize, &Write)| {
            let Session { user, id: session } = &sessions[write.session];
            let observed = write.observed.to_string();
            let mut body = json!({ "sessionId": session, "observedDateTime": observed });
            let action = match write.pair.and_then(|pair| pair.split_once('/')) {
                Some((availability, activity)) => {
                    body["availability"] = availability.into();
                    body["activity"] = activity.into();
                    body["expirationDuration"] = "PT1H".into();
                    "setPresence"
                }
                None => "clearPresence",
            };
            json!({
                "id": id.to_string(),
                "method": "POST",
                "url": format!("/users/{user}/presence/{action}"),
                "headers": { "Content-Type": "application/json" },
                "body": body,
            })
        };
        let requests: Vec<Value> = writes.iter().enumerate().map(request).collect();
        let (http, url) = &self.graph;
        let response = http.post(url).json(&json!({ "requests": requests })).send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        let mut outcomes = vec![None; writes.len()];
        let responses = body["responses"].as_array().unwrap_or_else(|| panic!("{body}"));
        assert_eq!(responses.len(), writes.len());
        for response in responses {
            let index: usize = response["id"].as_str().unwrap().parse().unwrap();
            outcomes[index] = match response["status"].as_u64().unwrap() {
                200 | 204 => Some(Outcome::Applied),
                404 => Some(Outcome::NotLive),
                412 => Some(Outcome::Stale),
                503 => None,
                _ => panic!("{response}"),
            };
        }
        outcomes
    }

    /// The pair of each live session of a user.
    pub(super) async fn sessions(&self, user: &str) -> BTreeMap<String, String> {
        loop {
            let request = ExplainPresenceRequest { user_id: user.to_owned(), ..Default::default() };
            let Some(explained) = available(self.rpc.clone().explain_presence(request).await) else {
                continue;
            };
            let pair = |session: &presenced::grpc::pb::Session| {
                let availability = word(session.availability().as_str_name(), "AVAILABILITY_");
                format!("{availability}/{}", word(session.activity().as_str_name(), "ACTIVITY_"))
            };
            return explained
                .sessions
                .iter()
                .map(|session| (session.session_id.clone(), pair(session)))
                .collect();
        }
    }
}

async fn alone(client: &Client, write: Write, session: &Session) -> Option<Outcome> {
    let (user, id, observed) = (&session.user, &session.id, Some(write.observed));
    let outcome = match write.pair {
        Some(pair) => client.set_observed(user, id, pair, "PT1H", observed).await,
        None => client.clear_observed(user, id, observed).await,
    };
    match outcome {
        client::Outcome::Done => Some(Outcome::Applied),
        client::Outcome::NotFound => Some(Outcome::NotLive),
        client::Outcome::Stale => Some(Outcome::Stale),
        client::Outcome::Unavailable => None,
        other => panic!("{other:?}: {write:?}"),
    }
}

fn available<T>(result: Result<tonic::Response<T>, Status>) -> Option<T> {
    match result {
        Ok(response) => Some(response.into_inner()),
        Err(status) if status.code() == Code::Unavailable => None,
        Err(status) => panic!("{status:?}"),
    }
}

fn set_outcome(outcome: SetOutcome) -> Outcome {
    match outcome {
        SetOutcome::Set => Outcome::Applied,
        SetOutcome::StaleWrite => Outcome::Stale,
        other => panic!("{other:?}"),
    }
}

fn clear_outcome(outcome: ClearOutcome) -> Outcome {
    match outcome {
        ClearOutcome::Cleared => Outcome::Applied,
        ClearOutcome::NotLive => Outcome::NotLive,
        ClearOutcome::StaleWrite => Outcome::Stale,
        ClearOutcome::Unspecified => panic!("{outcome:?}"),
    }
}
