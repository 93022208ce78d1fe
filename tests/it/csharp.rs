//! The C# clients of `docs/holding.md` and `docs/clients.md` name only what the proto files have, as `protoc`
//! names it in C#. Few machines have .NET, which compiles them in `clients`.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use presenced::grpc::pb::DESCRIPTORS;
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet, MethodDescriptorProto};

/// The text of `Session.cs` without its comments.
pub fn client() -> String {
    text_of("docs/sessions/Session.cs")
}

/// A client's text without its comments.
pub fn text_of(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect()
}

/// What the proto files have, by its name in C#.
struct Names {
    /// The properties of each message.
    messages: HashMap<String, HashSet<String>>,
    /// The values of each enum.
    enums: HashMap<String, HashSet<String>>,
    /// Messages, enums, services and their methods.
    all: HashSet<String>,
}

impl Names {
    fn read() -> Self {
        let mut files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        files.extend(protox::compile(["google/rpc/error_details.proto"], ["proto"]).unwrap().file);
        let mut names =
            Self { messages: HashMap::new(), enums: HashMap::new(), all: ["Presenced".to_owned()].into() };
        for file in &files {
            file.message_type.iter().for_each(|message| names.add_message(message));
            file.enum_type.iter().for_each(|one| names.add_enum(one));
            for service in &file.service {
                names.all.extend([service.name().to_owned(), format!("{}Client", service.name())]);
                let methods = service.method.iter().map(MethodDescriptorProto::name);
                names.all.extend(methods.flat_map(|name| [name.to_owned(), format!("{name}Async")]));
            }
        }
        let types = names.messages.keys().chain(names.enums.keys()).cloned().collect::<Vec<_>>();
        names.all.extend(types);
        names
    }

    fn add_message(&mut self, message: &DescriptorProto) {
        let mut properties: HashSet<_> =
            message.field.iter().map(|field| pascal_case(field.name())).collect();
        properties.extend(message.oneof_decl.iter().map(|one| pascal_case(one.name()) + "Case"));
        self.messages.insert(message.name().to_owned(), properties);
    }

    fn add_enum(&mut self, one: &EnumDescriptorProto) {
        let prefix = pascal_case(one.name());
        let value = |name: &str| pascal_case(name).strip_prefix(&prefix).unwrap_or(name).to_owned();
        self.enums.insert(one.name().to_owned(), one.value.iter().map(|each| value(each.name())).collect());
    }
}

/// `user_id` and `USER_ID` as `UserId`.
fn pascal_case(name: &str) -> String {
    name.split('_')
        .filter(|word| !word.is_empty())
        .map(|word| word[..1].to_uppercase() + &word[1..].to_lowercase())
        .collect()
}

/// Identifiers, and each other character that is not white.
fn tokens(text: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length =
            rest.find(|c| !is_part(c)).unwrap_or(rest.len()).max(rest.chars().next().unwrap().len_utf8());
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Panics if the text names what the proto files do not have.
pub fn check(text: &str) {
    let unknown = unknown(text);
    assert!(unknown.is_empty(), "not in the proto files: {unknown:?}");
}

/// The names that the proto files do not have.
fn unknown(text: &str) -> Vec<String> {
    let (names, tokens) = (Names::read(), tokens(text));
    let mut unknown: Vec<String> = Vec::new();
    // The message of each variable: `TryUnpack(out ErrorInfo info)`, and `stream.ResponseStream.Current`.
    let mut variables = HashMap::from([("held", "HoldPresenceResponse")]);
    for window in tokens.windows(3) {
        if window[0] == "out" {
            variables.insert(window[2], window[1]);
        }
    }
    for (position, token) in tokens.iter().enumerate() {
        if token.contains("Presence") && !names.all.contains(*token) {
            unknown.push((*token).to_owned());
        }
        let following = |offset| tokens.get(position + offset).copied().unwrap_or_default();
        let members = names.enums.get(*token).or_else(|| names.messages.get(*variables.get(token)?));
        if let Some(members) = members
            && following(1) == "."
            && !members.contains(following(2))
        {
            unknown.push(format!("{token}.{}", following(2)));
        }
        if *token == "new" && following(2) == "{" {
            let properties = names.messages.get(following(1));
            let assigned = assigned(&tokens[position + 3..]);
            let missing = assigned.iter().filter(|name| !properties.is_some_and(|all| all.contains(**name)));
            let is_message = properties.is_some() || following(1).ends_with("Request");
            unknown.extend(missing.filter(|_| is_message).map(|name| format!("{}.{name}", following(1))));
        }
    }
    unknown
}

/// The properties that an initializer assigns, up to its closing brace.
fn assigned<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    let end = tokens.iter().position(|token| *token == "}").unwrap();
    tokens[..end].windows(2).filter(|window| window[1] == "=").map(|window| window[0]).collect()
}

#[test]
fn the_csharp_client_names_only_what_the_proto_files_have() {
    check(&text_of("docs/clients/dotnet/Client.cs"));
    let client = client();
    check(&client);
    for (known, misspelt, reported) in [
        ("SetPresenceAsync(", "SetPresencesAsync(", "SetPresencesAsync"),
        ("Activity.InACall", "Activity.InAcall", "Activity.InAcall"),
        ("ObservedTime = began", "ObservedAt = began", "SetPresenceRequest.ObservedAt"),
        ("new ClearPresenceRequest { UserId", "new ClearPresenceRequest { User", "ClearPresenceRequest.User"),
        ("held.SessionExtended", "held.Extended", "held.Extended"),
        ("retry.RetryDelay", "retry.Delay", "retry.Delay"),
        ("violation => violation.Field", "violation => request.Field", "request.Field"),
    ] {
        assert!(client.contains(known), "{known}");
        let unknown = unknown(&client.replace(known, misspelt));
        assert!(unknown.iter().any(|name| name == reported), "{misspelt}: {unknown:?}");
    }
}
