//! `$filter` of a list and of a count: the availabilities of the users to select. The resource of a
//! subscription has the same form, with ids.

use crate::{presence::Availability, service::Input};

/// The only property that a filter can name.
const PROPERTY: &str = "availability";

/// The value of `$filter`; missing if the query has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter(pub(super) Option<String>);

impl Filter {
    /// The text, for the link to the next page.
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The availabilities that the filter names. A filter of another form is unreadable.
    pub(super) fn availabilities(&self) -> Input<Vec<Input<Availability>>> {
        let Some(text) = &self.0 else { return Input::Missing };
        // An empty text is no missing one: without a filter, the response would be another one.
        let value = |value: String| Input::Value(value).parse();
        Input::Value(text.clone())
            .parse_with(|text| Some(literals(text, PROPERTY)?.into_iter().map(value).collect()))
    }
}

/// The values in `NAME eq 'VALUE'` or `NAME in ('VALUE', …)`. Names have any case.
pub(super) fn literals(text: &str, name: &str) -> Option<Vec<String>> {
    let (property, rest) = word(text.trim())?;
    let (operator, rest) = word(rest.trim_start())?;
    if !property.eq_ignore_ascii_case(name) {
        return None;
    }
    let rest = rest.trim();
    match operator.to_ascii_lowercase().as_str() {
        "eq" => match literal(rest)? {
            (value, "") => Some(vec![value]),
            _ => None,
        },
        "in" => list(rest.strip_prefix('(')?.strip_suffix(')')?),
        _ => None,
    }
}

/// The first word of a text, and the rest.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at_checked(end)
}

/// The values of a list without its parentheses; none of an empty list.
fn list(text: &str) -> Option<Vec<String>> {
    let (mut values, mut rest) = (Vec::new(), text.trim());
    while !(rest.is_empty() && values.is_empty()) {
        let (value, after) = literal(rest)?;
        values.push(value);
        match after.trim_start() {
            "" => break,
            after => rest = after.strip_prefix(',')?.trim_start(),
        }
    }
    Some(values)
}

/// The value of the string in quotes at the start of a text, and the rest. A quote inside is doubled.
fn literal(text: &str) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text.strip_prefix('\'')?);
    loop {
        let (part, after) = rest.split_once('\'')?;
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_in_any_case_and_with_any_space() {
        for (text, expected) in [
            ("availability eq 'Busy'", &["Busy"][..]),
            (" Availability  EQ\t'busy' ", &["busy"]),
            ("availability eq'Busy'", &["Busy"]),
            ("availability in ('Busy','Away')", &["Busy", "Away"]),
            ("AVAILABILITY in( 'Busy' , 'Away' )", &["Busy", "Away"]),
            ("availability in ('a''b', '', ',)')", &["a'b", "", ",)"]),
            ("availability in ()", &[]),
            ("availability in ( )", &[]),
        ] {
            assert_eq!(
                literals(text, PROPERTY).as_deref(),
                Some(&*expected.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "{text}"
            );
        }
    }

    #[test]
    fn no_other_form_is_read() {
        for text in [
            "",
            "x",
            "availability",
            "availability eq",
            "availability eq Busy",
            "availability eq \"Busy\"",
            "availability eq 'Busy",
            "availability eq 'Busy' x",
            "availability eq 'Busy' or availability eq 'Away'",
            "(availability eq 'Busy')",
            "availability eq ('Busy')",
            "availability in 'Busy'",
            "availability in ('Busy'",
            "availability in ('Busy',)",
            "availability in (,)",
            "availability in ('Busy' 'Away')",
            "availability in (Busy)",
            "availability in ('Busy') and true",
            "availability ne 'Busy'",
            "not availability eq 'Busy'",
            "activity eq 'InACall'",
            "availabilityeq 'Busy'",
            "availability/x eq 'Busy'",
            "startswith(availability, 'B')",
        ] {
            assert_eq!(literals(text, PROPERTY), None, "{text}");
        }
    }
}
