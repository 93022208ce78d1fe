//! The users that a list or a count selects, and the availabilities that a request names.

use strum::VariantArray as _;

use super::{Field, Input, Received, Rule, validator::Validator};
use crate::presence::{Availability, Pair};

/// The users that a list or a count selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Every user with a live session.
    Live,
    /// Those who are shown with one of these: each once, in the order of the enum.
    ShownAs(Vec<Availability>),
}

impl Selection {
    /// Whether a user with a live session is selected who is shown so. The pair of a user without one
    /// is never selected: the session has ended since the user was listed.
    pub(super) fn has(&self, pair: Pair) -> bool {
        pair != Pair::OFFLINE
            && match self {
                Self::Live => true,
                Self::ShownAs(availabilities) => availabilities.contains(&pair.availability),
            }
    }
}

impl Validator {
    /// The availabilities of the users to select; every user with a live session if missing.
    pub(super) fn selection(&mut self, given: Input<Vec<Input<Availability>>>) -> Option<Selection> {
        match given {
            Input::Missing => Some(Selection::Live),
            given => self.required_availabilities(given).map(Selection::ShownAs),
        }
    }

    /// The availabilities to wait for; required.
    pub(super) fn required_availabilities(
        &mut self,
        given: Input<Vec<Input<Availability>>>,
    ) -> Option<Vec<Availability>> {
        let given = self.required(Field::Availabilities, given, Rule::Availabilities)?;
        self.availabilities(given)
    }

    /// One or more availabilities. Returns each once, in the order of the enum.
    fn availabilities(&mut self, given: Vec<Input<Availability>>) -> Option<Vec<Availability>> {
        let (number, max) = (given.len(), Availability::VARIANTS.len());
        if number == 0 {
            self.add(Field::Availabilities, Rule::NotEmpty { of: "availability" }, None);
            return None;
        }
        if number > max {
            let received = Received::Text(number.to_string());
            self.add(Field::Availabilities, Rule::Items { max }, Some(received));
            return None;
        }
        let mut valid = Vec::with_capacity(number);
        for availability in given {
            valid.extend(self.required(Field::Availabilities, availability, Rule::Availabilities));
        }
        let all = valid.len() == number;
        all.then(|| Availability::VARIANTS.iter().copied().filter(|value| valid.contains(value)).collect())
    }
}
