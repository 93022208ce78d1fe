//! The details of errors, as a client decodes them that has only the files of `proto/`.

use protox::{
    Compiler,
    prost_reflect::{DescriptorPool, DynamicMessage, Value},
};
use tonic::Code;

use super::{busy, connect};
use crate::support::{database::Engine, server::Server};

/// The messages of `proto/google/rpc`, compiled as a client does it, without any other folder.
fn client_messages() -> DescriptorPool {
    let mut compiler = Compiler::new([concat!(env!("CARGO_MANIFEST_DIR"), "/proto")]).unwrap();
    compiler.include_imports(true);
    compiler.open_files(["google/rpc/status.proto", "google/rpc/error_details.proto"]).unwrap();
    compiler.descriptor_pool()
}

/// The details in the metadata `grpc-status-details-bin`, by the names of their types.
fn decode(messages: &DescriptorPool, bytes: &[u8]) -> Vec<(String, DynamicMessage)> {
    let status = messages.get_message_by_name("google.rpc.Status").unwrap();
    let status = DynamicMessage::decode(status, bytes).unwrap();
    let details = status.get_field_by_name("details").unwrap();
    let decode = |detail: &Value| {
        let detail = detail.as_message().unwrap().transcode_to::<prost_types::Any>().unwrap();
        let name = detail.type_url.strip_prefix("type.googleapis.com/").unwrap().to_owned();
        let message = messages.get_message_by_name(&name).unwrap_or_else(|| panic!("no {name}"));
        (name, DynamicMessage::decode(message, detail.value.as_slice()).unwrap())
    };
    details.as_list().unwrap().iter().map(decode).collect()
}

#[tokio::test]
async fn a_client_with_only_our_proto_files_decodes_every_detail() {
    let server = Server::start_with(Engine::Sqlite, &["--rate-limit", "2/300s"]).await;
    let mut client = connect(&server).await;
    let messages = client_messages();
    let text = |message: &DynamicMessage, field: &str| {
        message.get_field_by_name(field).unwrap().as_str().unwrap().to_owned()
    };

    let invalid = client.set_presence(busy("undefined", "app")).await.unwrap_err();
    assert_eq!(invalid.code(), Code::InvalidArgument);
    let details = decode(&messages, invalid.details());
    let names: Vec<&str> = details.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RequestInfo"]);
    assert_eq!(text(&details[0].1, "reason"), "ERROR_REASON_FIELD_INVALID");
    assert_eq!(text(&details[0].1, "domain"), "presence.v1");
    let violations = details[1].1.get_field_by_name("field_violations").unwrap();
    assert_eq!(text(violations.as_list().unwrap()[0].as_message().unwrap(), "field"), "user_id");

    client.set_presence(busy("ada", "app")).await.unwrap();
    let limited = client.set_presence(busy("ada", "app")).await.unwrap_err();
    assert_eq!(limited.code(), Code::ResourceExhausted);
    let details = decode(&messages, limited.details());
    let detail = |wanted: &str| &details.iter().find(|(name, _)| name == wanted).unwrap().1;
    assert_eq!(text(detail("google.rpc.ErrorInfo"), "reason"), "ERROR_REASON_RATE_LIMITED");
    let delay = detail("google.rpc.RetryInfo").get_field_by_name("retry_delay").unwrap();
    let delay: prost_types::Duration = delay.as_message().unwrap().transcode_to().unwrap();
    assert!((100..=150).contains(&delay.seconds), "{delay:?}");
    let pushback: i64 =
        limited.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(pushback / 1_000, delay.seconds);
    server.stop().await;
}
