//! Writers of the same sessions while the service is killed at random points: the history has each
//! acknowledged change once, and each unanswered one at most once.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::Algorithm;
use presenced::{
    grpc::pb::{
        Activity, Availability, ClearPresenceRequest, SetPresenceRequest,
        presence_service_client::PresenceServiceClient,
    },
    presence::{EndReason, SessionId, Span, SpanValue, Timestamp},
    store::{Database, LoadHistory},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::{Code, Request, transport::Endpoint};
use uuid::Uuid;

use crate::{
    conformance::{check_chain, key_of},
    support::{
        database::{Engine, TestDatabase},
        number, on_every_engine,
        process::Process,
        tokens::{self, Signer, TENANT},
    },
};

on_every_engine![the_history_survives_kills];

const WRITERS: usize = 8;
const USERS: usize = 10;
const SESSIONS: usize = 5;

/// What is known about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Acknowledged,
    /// A clear that found no live session.
    NothingToEnd,
    Unanswered,
}

/// The outcomes of writes, by the application that did each: sets, and clears.
#[derive(Default)]
struct Outcomes {
    sets: HashMap<String, Known>,
    clears: HashMap<String, Known>,
}

/// Writes at random, each time as another application, until `stop`.
async fn write(writer: usize, at: SocketAddr, signer: Arc<Signer>, stop: Arc<AtomicBool>) -> Outcomes {
    let channel = Endpoint::from_shared(format!("http://{at}")).unwrap().connect_lazy();
    let mut client = PresenceServiceClient::new(channel);
    let mut outcomes = Outcomes::default();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let application = format!("w{writer}-{turn}");
        let claims = json!({
            "roles": ["Presence.ReadWrite.All"], "azp": application, "exp": 4_102_444_800_u64,
        });
        let token = signer.sign(&tokens::with(&claims));
        let user_id = format!("u{}", fastrand::usize(..USERS));
        let session_id = format!("s{}", fastrand::usize(..SESSIONS));
        let authorize = |metadata: &mut tonic::metadata::MetadataMap| {
            metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
        };
        if fastrand::u8(..4) > 0 {
            let (availability, activity) =
                [(Availability::Busy, Activity::InACall), (Availability::Away, Activity::Away)]
                    [fastrand::usize(..2)];
            let mut request = Request::new(SetPresenceRequest {
                user_id,
                session_id,
                availability: availability.into(),
                activity: activity.into(),
                expiration_duration: None,
                ..Default::default()
            });
            authorize(request.metadata_mut());
            let known = match client.set_presence(request).await {
                Ok(_) => Known::Acknowledged,
                Err(_) => Known::Unanswered,
            };
            outcomes.sets.insert(application, known);
        } else {
            let mut request = Request::new(ClearPresenceRequest { user_id, session_id, observed_time: None });
            authorize(request.metadata_mut());
            let known = match client.clear_presence(request).await {
                Ok(_) => Known::Acknowledged,
                Err(status) if status.code() == Code::NotFound => Known::NothingToEnd,
                Err(_) => Known::Unanswered,
            };
            outcomes.clears.insert(application, known);
        }
        sleep(Duration::from_millis(fastrand::u64(..3))).await;
    }
    outcomes
}

/// Checks that a write of each application is in `found` as often as it may be.
fn check(outcomes: &HashMap<String, Known>, found: &HashMap<String, usize>) {
    for (application, known) in outcomes {
        let number = found.get(application).copied().unwrap_or_default();
        let right = match known {
            Known::Acknowledged => number == 1,
            Known::NothingToEnd => number == 0,
            Known::Unanswered => number <= 1,
        };
        assert!(right, "{application} is {known:?}, and {number} times in the history");
    }
}

async fn the_history_survives_kills(engine: Engine) {
    let kills = number("PRESENCE_TEST_KILLS", 10);
    let database = TestDatabase::new(engine).await;
    let (signer, folder) = (Arc::new(Signer::new(Algorithm::EdDSA, "key")), TempDir::new().unwrap());
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, tokens::key_set(&[&signer])).unwrap();
    let flags = [&tokens::FLAGS[..], &["--jwks-file", keys.to_str().unwrap(), "--session-id-policy", "any"]];
    let flags = flags.concat();
    let mut process = Process::start(&database.url, &flags).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(writer, process.grpc, Arc::clone(&signer), Arc::clone(&stop))))
        .collect();
    for _ in 0..kills {
        sleep(Duration::from_millis(fastrand::u64(50..400))).await;
        process.kill();
        process = Process::start_at(process.grpc, process.http, &database.url, &flags).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut outcomes = Outcomes::default();
    for writer in writers {
        let Outcomes { sets, clears } = writer.await.unwrap();
        outcomes.sets.extend(sets);
        outcomes.clears.extend(clears);
    }
    process.kill();

    let store = Database::connect(&database.url).await.unwrap().open(1);
    let tenant = Uuid::parse_str(TENANT).unwrap();
    let (mut set, mut cleared) = (HashMap::new(), HashMap::new());
    for user in 0..USERS {
        let user = key_of(tenant, &format!("u{user}"), "x").user;
        let load = LoadHistory { users: vec![user], before: Timestamp::LATEST, spans_max: 1_000_000 };
        let stored = store.load_history(Timestamp::LATEST, &load).await.unwrap().remove(0);
        let mut sessions: BTreeMap<SessionId, Vec<Span>> = BTreeMap::new();
        for span in stored.spans {
            *set.entry(span.set_by.application_id.as_ref().unwrap().to_string()).or_default() += 1;
            if let Some(end) = span.end.as_ref().filter(|end| end.reason == EndReason::Cleared) {
                *cleared.entry(end.by.application_id.as_ref().unwrap().to_string()).or_default() += 1;
            }
            let SpanValue::Session { session_id, .. } = &span.value else { panic!("{span:?}") };
            sessions.entry(session_id.clone()).or_default().push(span);
        }
        for spans in sessions.values() {
            check_chain(spans);
        }
    }
    check(&outcomes.sets, &set);
    check(&outcomes.clears, &cleared);
    let count =
        |outcomes: &HashMap<String, Known>, which| outcomes.values().filter(|known| **known == which).count();
    println!(
        "{engine:?}: {kills} kills, {} sets and {} clears acknowledged, {} writes unanswered",
        count(&outcomes.sets, Known::Acknowledged),
        count(&outcomes.clears, Known::Acknowledged),
        count(&outcomes.sets, Known::Unanswered) + count(&outcomes.clears, Known::Unanswered),
    );
}
