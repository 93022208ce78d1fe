//! The availabilities that a request names.

use strum::VariantArray as _;

use super::{Field, Input, Received, Rule, validator::Validator};
use crate::presence::Availability;

impl Validator {
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
