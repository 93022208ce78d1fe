//! The names of JSON properties. They may be written in any case: Graph reads `SessionId`, and
//! libraries for .NET and Go write it. Unknown ones are collected, to be named or refused.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt::{self, Write},
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

use super::unknown::{COLLECTED_MAX, UnknownName};

/// The most properties of a body, those of all its objects together. Each name is compared and may be
/// kept, so those of one megabyte would take 30 ms. A list of 1,000 valid objects has fewer.
pub(super) const PROPERTIES_MAX: usize = 10_000;

/// Why a body cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It is not valid JSON.
    Json(serde_json::Error),
    /// It has more than [`PROPERTIES_MAX`] properties.
    TooManyProperties,
}

/// What reading a body found beside its value.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The properties that no struct has, at most [`COLLECTED_MAX`].
    pub(super) unknown: Vec<UnknownName>,
    /// Properties that make the body invalid: their names, and the problem of each.
    pub(super) invalid: Vec<(String, String)>,
}

/// A step from an object or a list to a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Name(&'static str),
    Index(usize),
}

#[derive(Debug, Default)]
struct Reading {
    /// The way from the body to the value that is read.
    path: Vec<Step>,
    /// The properties so far.
    properties: usize,
    findings: Findings,
}

thread_local! {
    /// The body that this thread reads. A body is read in one call, and serde passes no context
    /// to the functions that read the fields of a struct.
    static READING: RefCell<Reading> = RefCell::default();
}

/// Reads a struct from a JSON object whose property names may have any case.
///
/// # Errors
///
/// If the text is not valid JSON, or has too many properties.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<(T, Findings), ReadError> {
    READING.take();
    let value = object_in_body(json);
    let Reading { properties, findings, .. } = READING.take();
    if properties > PROPERTIES_MAX {
        return Err(ReadError::TooManyProperties);
    }
    Ok((value.map_err(ReadError::Json)?, findings))
}

/// Counts a property. An error ends reading the object, and [`read`] then fails.
fn count_property<E: Error>() -> Result<(), E> {
    let properties = READING.with_borrow_mut(|reading| {
        reading.properties += 1;
        reading.properties
    });
    if properties > PROPERTIES_MAX { Err(E::custom("too many properties")) } else { Ok(()) }
}

/// [`read`] for an object inside of the body that is read.
pub(super) fn object_in_body<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = T::deserialize(AnyCase(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

/// Reads the part of an object or a list to which `step` leads.
pub(super) fn at<R>(step: Step, read: impl FnOnce() -> R) -> R {
    READING.with_borrow_mut(|reading| reading.path.push(step));
    let read = read();
    READING.with_borrow_mut(|reading| reading.path.pop());
    read
}

/// Notes that the value that is read makes the body invalid.
pub(super) fn refuse_value(problem: String) {
    READING.with_borrow_mut(|reading| {
        let path = path_to(&reading.path, "");
        reading.findings.invalid.push((path, problem));
    });
}

/// Notes that the property `name` of the object that is read makes the body invalid.
fn refuse_property(name: &str, problem: &str) {
    READING.with_borrow_mut(|reading| {
        let path = path_to(&reading.path, name);
        reading.findings.invalid.push((path, problem.to_owned()));
    });
}

/// Notes that the object that is read, which has the properties `known`, has another one.
fn note_unknown(name: &str, known: &[&str]) {
    READING.with_borrow_mut(|reading| {
        if reading.findings.unknown.len() < COLLECTED_MAX {
            let path = path_to(&reading.path, name);
            reading.findings.unknown.push(UnknownName::property(path, name, known));
        }
    });
}

/// The path to a property: `requests[3].body`; to the value itself if `name` is empty.
fn path_to(steps: &[Step], name: &str) -> String {
    /// The characters of a name that errors repeat.
    const SHOWN_MAX: usize = 64;

    let mut path = String::new();
    for step in steps {
        // Writing to a String does not fail.
        let _ = match step {
            Step::Index(index) => write!(path, "[{index}]"),
            Step::Name(name) if path.is_empty() => write!(path, "{name}"),
            Step::Name(name) => write!(path, ".{name}"),
        };
    }
    if !path.is_empty() && !name.is_empty() {
        path.push('.');
    }
    path.extend(name.chars().take(SHOWN_MAX));
    path
}

/// Why bytes of a JSON string are not Unicode. serde reads half of a surrogate pair as if it were
/// a character.
pub(super) fn half_of_pair(bytes: &[u8]) -> Option<String> {
    let half = bytes.windows(3).find_map(|bytes| match *bytes {
        [0xed, high @ 0xa0..=0xbf, low] => Some(0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f)),
        _ => None,
    })?;
    Some(format!("has half of a surrogate pair: \\u{half:04x}"))
}

/// A deserializer that gives a struct the names of its fields as the struct writes them.
struct AnyCase<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AnyCase<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(StructVisitor { visitor, fields })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct StructVisitor<V> {
    visitor: V,
    fields: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for StructVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, properties: A) -> Result<V::Value, A::Error> {
        let fields = self.fields;
        self.visitor.visit_map(Properties {
            inner: properties,
            fields,
            field: "",
            given: Vec::new(),
            unknown: HashSet::new(),
        })
    }
}

/// The properties of an object, under the names of a struct's fields.
struct Properties<A> {
    inner: A,
    fields: &'static [&'static str],
    /// The field whose value comes next; empty if the struct does not have it.
    field: &'static str,
    /// The fields so far.
    given: Vec<&'static str>,
    /// The unknown names so far, in lower case.
    unknown: HashSet<String>,
}

impl<A> Properties<A> {
    /// The field of a property; empty for one whose value is ignored.
    fn field_of(&mut self, name: Name) -> &'static str {
        const TWICE: &str = "is given more than once";
        match name {
            Name::Field(field) if self.given.contains(&field) => refuse_property(field, TWICE),
            Name::Field(field) => {
                self.given.push(field);
                return field;
            }
            Name::Annotation => {}
            Name::Unknown(name) if !self.unknown.insert(name.to_ascii_lowercase()) => {
                refuse_property(&name, TWICE);
            }
            Name::Unknown(name) => note_unknown(&name, self.fields),
            Name::Invalid { name, problem } => refuse_property(&name, &problem),
        }
        ""
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Properties<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.inner.next_key_seed(NameOf(self.fields))? else { return Ok(None) };
        count_property()?;
        self.field = self.field_of(name);
        seed.deserialize(StrDeserializer::new(self.field)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        at(Step::Name(self.field), || self.inner.next_value_seed(seed))
    }
}

/// The name of a property.
enum Name {
    /// That of a field, in any case.
    Field(&'static str),
    /// That of an annotation of OData, which may be ignored.
    Annotation,
    Unknown(String),
    /// Not Unicode.
    Invalid {
        name: String,
        problem: String,
    },
}

/// Reads a name as that of one of these fields.
struct NameOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for NameOf {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        // As a text, half of a surrogate pair would be a syntax error without a place.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for NameOf {
    type Value = Name;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a property")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Name, E> {
        let Ok(name) = str::from_utf8(bytes) else {
            let problem = half_of_pair(bytes).unwrap_or_else(|| "is not Unicode".to_owned());
            return Ok(Name::Invalid { name: String::from_utf8_lossy(bytes).into_owned(), problem });
        };
        let field = self.0.iter().copied().find(|field| field.eq_ignore_ascii_case(name));
        Ok(match field {
            Some(field) => Name::Field(field),
            None if is_annotation(name) => Name::Annotation,
            None => Name::Unknown(name.to_owned()),
        })
    }
}

/// Whether the name is that of an annotation of the object, `@odata.type`, or of a property,
/// `name@odata.type`.
fn is_annotation(name: &str) -> bool {
    name.split_once('@').is_some_and(|(property, term)| property.is_empty() || term.contains('.'))
}

/// A JSON string, or why it is not Unicode.
pub(super) struct Text(pub(super) Result<String, String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
        let text = str::from_utf8(bytes).map(ToOwned::to_owned);
        Ok(Text(text.map_err(|_| half_of_pair(bytes).unwrap_or_else(|| "is not Unicode".to_owned()))))
    }
}

/// The entries of a JSON object, in their order.
pub(super) struct Entries<'de>(pub(super) Vec<(Text, &'de RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            count_property()?;
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
