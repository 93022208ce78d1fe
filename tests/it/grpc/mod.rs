//! The gRPC API as grpcurl and generated clients see it.

mod breaking;
mod details;
mod explain;
mod health;
mod protocol;
mod web_port;
pub mod wire;

use std::time::Duration;

use presenced::{
    app::Drain,
    grpc::{
        SERVICE_NAME,
        pb::{
            Activity, Availability, BatchGetPresencesRequest, BatchSetPresencesRequest, ClearPresenceRequest,
            DESCRIPTORS, SetPresenceRequest,
            health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
            presence_service_client::PresenceServiceClient,
        },
    },
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use self::wire::{Wire, with_header};
use crate::support::{client::words, database::Engine, on_every_engine, server::Server};

on_every_engine![a_batch_sets_all_sessions_or_none];

const MINUTE: Duration = Duration::from_mins(1);

async fn connect(server: &Server) -> PresenceServiceClient<Channel> {
    PresenceServiceClient::new(channel(server).await)
}

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.addresses.grpc)).unwrap().connect().await.unwrap()
}

fn set(
    user: &str,
    session: &str,
    availability: Availability,
    activity: Activity,
    minutes: i64,
) -> SetPresenceRequest {
    SetPresenceRequest {
        user_id: user.to_owned(),
        session_id: session.to_owned(),
        availability: availability.into(),
        activity: activity.into(),
        expiration_duration: Some(prost_types::Duration { seconds: minutes * 60, nanos: 0 }),
        ..Default::default()
    }
}

fn busy(user: &str, session: &str) -> SetPresenceRequest {
    set(user, session, Availability::Busy, Activity::InACall, 60)
}

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().expect("an ErrorInfo in every error");
    assert_eq!(info.domain, "presence.v1");
    assert_eq!(status.get_details_request_info().expect("a RequestInfo in every error").request_id.len(), 36);
    info.reason
}

fn fields(status: &Status) -> Vec<String> {
    let fields = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    fields.into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn every_error_has_a_reason() {
    let server = Server::start(Engine::Sqlite).await;
    let mut client = connect(&server).await;
    let mut rejected = async |request: SetPresenceRequest| {
        let status = client.set_presence(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        (reason(&status), fields(&status), status.message().to_owned())
    };
    let (reason_of, named, message) =
        rejected(set("u", "a", Availability::Busy, Activity::Offline, 60)).await;
    assert_eq!(
        (reason_of.as_str(), named),
        ("ERROR_REASON_PAIR_NOT_ALLOWED", vec!["availability".to_owned()])
    );
    assert!(message.contains("AVAILABILITY_BUSY / ACTIVITY_IN_A_CALL, AVAILABILITY_BUSY / "), "{message}");
    let mut number = busy("u", "a");
    number.availability = 99;
    let (reason_of, named, message) = rejected(number).await;
    assert_eq!((reason_of.as_str(), named), ("ERROR_REASON_FIELD_INVALID", vec!["availability".to_owned()]));
    assert!(message.contains("AVAILABILITY_DO_NOT_DISTURB / ACTIVITY_PRESENTING, got 99."), "{message}");
    let (reason_of, named, _) = rejected(busy("u", "")).await;
    assert_eq!((reason_of.as_str(), named), ("ERROR_REASON_FIELD_REQUIRED", vec!["session_id".to_owned()]));

    for (seconds, nanos) in
        [(299, 999_999_999), (14_400, 1), (i64::MAX, 0), (i64::MIN, 0), (600, -1), (600, i32::MAX)]
    {
        let mut request = busy("u", "a");
        request.expiration_duration = Some(prost_types::Duration { seconds, nanos });
        let (reason_of, named, message) = rejected(request).await;
        assert_eq!(reason_of, "ERROR_REASON_DURATION_OUT_OF_RANGE");
        assert_eq!(named, ["expiration_duration"]);
        assert!(message.contains("between 300s and 14400s, got "), "{message}");
    }

    let request = ClearPresenceRequest { user_id: "u".into(), session_id: "a".into(), observed_time: None };
    let status = client.clear_presence(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ERROR_REASON_SESSION_NOT_FOUND"));
}

#[tokio::test]
async fn too_large_and_malformed_messages_are_rejected() {
    let server = Server::start(Engine::Sqlite).await;
    let mut client = connect(&server).await;
    let status = client.set_presence(busy(&"x".repeat(1_024 * 1_024), "a")).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "ERROR_REASON_MESSAGE_TOO_LARGE")
    );
    assert!(status.message().contains("1048576 bytes"), "{}", status.message());

    // Truncated fields, a text that is not UTF-8, and a wrong wire type.
    for bytes in [vec![0x0a, 0x05], vec![0x0a, 0x01, 0xff], vec![0x08, 0x01], vec![0xff; 20]] {
        let (wire, message) = (Wire::connect(server.addresses.grpc).await, with_header(0, &bytes));
        let status = wire.call("/presence.v1.PresenceService/GetPresence", &[], message).await.status();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(reason(&status), "ERROR_REASON_MESSAGE_MALFORMED");
    }
}

#[tokio::test]
async fn batches_have_a_limit() {
    let server = Server::start(Engine::Sqlite).await;
    let mut client = connect(&server).await;
    let requests = |number: usize| BatchSetPresencesRequest {
        requests: (0..number).map(|user| busy(&user.to_string(), "a")).collect(),
    };
    client.batch_set_presences(requests(1_000)).await.unwrap();
    let status = client.batch_set_presences(requests(1_001)).await.unwrap_err();
    assert_eq!(
        (reason(&status).as_str(), fields(&status)),
        ("ERROR_REASON_TOO_MANY", vec!["requests".to_owned()])
    );
    assert!(
        status.message().contains("`requests` must have at most 1000 items, got 1001."),
        "{}",
        status.message()
    );
    let status = client.batch_set_presences(requests(0)).await.unwrap_err();
    assert_eq!(fields(&status), ["requests"]);

    // gRPC sends errors in headers, which must stay small even if all items are invalid.
    let all_invalid = vec![set("a b", "a b", Availability::Busy, Activity::Offline, 1); 1_000];
    let status =
        client.batch_set_presences(BatchSetPresencesRequest { requests: all_invalid }).await.unwrap_err();
    assert_eq!((status.code(), fields(&status).len()), (Code::InvalidArgument, 10));
    assert!(status.message().ends_with(" And 3996 more."), "{}", status.message());
    assert!(status.details().len() + status.message().len() < 4_096);
    // The longest messages are those of pairs. Clients accept 8 KiB of headers or more.
    let invalid_pairs =
        vec![set("u", "a", Availability::DoNotDisturb, Activity::InAConferenceCall, 60); 1_000];
    let status =
        client.batch_set_presences(BatchSetPresencesRequest { requests: invalid_pairs }).await.unwrap_err();
    assert!(status.message().ends_with(" And 999 more."), "{}", status.message());
    let bytes = status.details().len() * 4 / 3 + status.message().len();
    assert!(bytes < 7_168, "{bytes}");

    let users = |number: usize| BatchGetPresencesRequest {
        user_ids: (0..number).map(|user| user.to_string()).collect(),
        ..Default::default()
    };
    let presences = client.batch_get_presences(users(650)).await.unwrap().into_inner().presences;
    assert_eq!(presences.iter().map(words).filter(|words| words.ends_with(" Busy/InACall")).count(), 650);
    let status = client.batch_get_presences(users(651)).await.unwrap_err();
    assert_eq!(
        (reason(&status).as_str(), fields(&status)),
        ("ERROR_REASON_TOO_MANY", vec!["user_ids".to_owned()])
    );
}

async fn a_batch_sets_all_sessions_or_none(engine: Engine) {
    let server = Server::start(engine).await;
    let mut client = connect(&server).await;
    let mut requests = vec![busy("a", "x"), busy("b", "x"), busy("a b", ""), busy("c", "x")];
    requests[3].activity = 0;
    requests[3].message = "x".repeat(281);
    let status = client.batch_set_presences(BatchSetPresencesRequest { requests }).await.unwrap_err();
    assert_eq!(
        fields(&status),
        ["requests[2].user_id", "requests[2].session_id", "requests[3].activity", "requests[3].message"]
    );
    let user_ids = ["a", "b", "c"].map(str::to_owned).to_vec();
    let read = BatchGetPresencesRequest { user_ids, ..Default::default() };
    let presences = client.batch_get_presences(read.clone()).await.unwrap().into_inner().presences;
    assert_eq!(
        presences.iter().map(words).collect::<Vec<_>>(),
        ["a Offline/Offline", "b Offline/Offline", "c Offline/Offline"]
    );

    let away = set("a", "x", Availability::Away, Activity::Away, 60);
    let requests = vec![busy("a", "x"), busy("b", "x"), away];
    client.batch_set_presences(BatchSetPresencesRequest { requests }).await.unwrap();
    let presences = client.batch_get_presences(read).await.unwrap().into_inner().presences;
    assert_eq!(
        presences.iter().map(words).collect::<Vec<_>>(),
        ["a Away/Away", "b Busy/InACall", "c Offline/Offline"]
    );
}

#[tokio::test]
async fn health_checks_report_the_server_and_the_service() {
    let mut settings = crate::support::server::settings("sqlite::memory:", &[]);
    settings.drain_timeout = Duration::from_secs(10);
    let app = crate::support::server::start(&settings, presenced::clock::Clock::new()).await;
    let channel = Channel::from_shared(format!("http://{}", app.addresses().grpc)).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    for service in ["", SERVICE_NAME] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watch = health.watch(request.clone()).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
        assert_eq!(health.check(request).await.unwrap().into_inner().status(), ServingStatus::Serving);
    }
    let request = HealthCheckRequest { service: "other".into() };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);

    // A client that watches is notified of the stop, and does not delay it.
    let request = HealthCheckRequest { service: SERVICE_NAME.into() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let last = tokio::spawn(async move {
        let mut last = ServingStatus::Serving;
        while let Ok(Some(response)) = watch.message().await {
            last = response.status();
        }
        last
    });
    assert_eq!(app.stop(settings.drain_timeout, std::future::pending()).await, Drain::Complete);
    assert_eq!(last.await.unwrap(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_supports_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};

    let server = Server::start(Engine::Sqlite).await;
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "presence.v1.PresenceService",
    ];

    let ask = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let ask = v1::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel(&server).await);
    let response = client.server_reflection_info(futures_util::stream::iter([ask])).await.unwrap();
    let response = response.into_inner().message().await.unwrap().unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        response.message_response
    else {
        panic!("a list of services")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, expected);

    // Also the types of error details: grpcurl shows only details whose types it can look up.
    for symbol in [SERVICE_NAME, "google.rpc.BadRequest", "google.rpc.ErrorInfo", "presence.v1.ErrorReason"] {
        let ask = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.to_owned());
        let ask = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
        let mut client =
            v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&server).await);
        let response = client.server_reflection_info(futures_util::stream::iter([ask])).await.unwrap();
        let response = response.into_inner().message().await.unwrap().unwrap();
        assert!(
            matches!(
                response.message_response,
                Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
            ),
            "{symbol}"
        );
    }
}

#[test]
fn every_proto_file_names_its_package_in_other_languages() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let files: Vec<_> = files.iter().filter(|file| file.package() == "presence.v1").collect();
    assert_eq!(files.len(), 4);
    for file in files {
        let options = file.options.as_ref().expect("options");
        assert_eq!(options.go_package(), "presenced.dev/presence/v1;presencev1", "{}", file.name());
        assert_eq!((options.java_package(), options.java_multiple_files()), ("dev.presenced.v1", true));
        assert!(options.java_outer_classname().ends_with("Proto"), "{}", file.name());
        assert_eq!(options.csharp_namespace(), "Presenced.V1");
        assert_eq!((options.php_namespace(), options.ruby_package()), ("Presenced\\V1", "Presenced::V1"));
        assert_eq!(options.objc_class_prefix(), "PRS");
    }
}
