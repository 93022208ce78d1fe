//! Availability, activity, and the pairs of both that are allowed.

use std::fmt;

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The text is not a value of the enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown word")]
pub struct UnknownWord;

pub(super) fn unknown_word(_: &str) -> UnknownWord {
    UnknownWord
}

/// The proto's name of an enum value: `AVAILABILITY` and `DoNotDisturb` give
/// `AVAILABILITY_DO_NOT_DISTURB`.
#[must_use]
pub fn proto_name(prefix: &str, word: &str) -> String {
    word.chars().fold(prefix.to_owned(), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
        name
    })
}

/// The base state of a session or a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(ascii_case_insensitive, parse_err_fn = unknown_word, parse_err_ty = UnknownWord)]
pub enum Availability {
    /// Present and reachable.
    Available,
    /// Present, and busy.
    Busy,
    /// Away from the device.
    Away,
    /// Away for a moment. Only a preferred presence has it.
    BeRightBack,
    /// Present, and not to be interrupted.
    DoNotDisturb,
    /// Without a live session, or with a preference to appear so.
    Offline,
}

/// The activity of a session or a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(ascii_case_insensitive, parse_err_fn = unknown_word, parse_err_ty = UnknownWord)]
pub enum Activity {
    /// No particular activity.
    Available,
    /// Available, but not refreshed for a while. It is shown, but never set.
    AvailableInactive,
    /// Busy, without a reason. Only a preferred presence has it.
    Busy,
    /// In a call.
    InACall,
    /// In a call with several participants.
    InAConferenceCall,
    /// Away.
    Away,
    /// Away for a moment. Only a preferred presence has it.
    BeRightBack,
    /// Not to be interrupted, without a reason. Only a preferred presence has it.
    DoNotDisturb,
    /// Presenting to others.
    Presenting,
    /// Without a live session. It is shown, but never set.
    Offline,
    /// Appears offline. Only a preferred presence has it.
    OffWork,
}

/// An availability and an activity, e.g. `Busy` / `InACall`. A session sets a pair, and a
/// presence shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The base state.
    pub availability: Availability,
    /// The detail of the base state.
    pub activity: Activity,
}

impl Pair {
    /// The pair of an `Available` session right after it was set.
    pub const AVAILABLE: Self = Self::new(Availability::Available, Activity::Available);
    /// The pair of an `Available` session that has begun to fade.
    pub const INACTIVE: Self = Self::new(Availability::Available, Activity::AvailableInactive);
    /// The pair of an `Away` session, or of an `Available` session that has faded.
    pub const AWAY: Self = Self::new(Availability::Away, Activity::Away);
    /// The pair of a user without a live session.
    pub const OFFLINE: Self = Self::new(Availability::Offline, Activity::Offline);

    /// The pairs that a session can set. Graph: setPresence.
    pub const OF_SESSION: [Self; 5] = [
        Self::AVAILABLE,
        Self::new(Availability::Busy, Activity::InACall),
        Self::new(Availability::Busy, Activity::InAConferenceCall),
        Self::AWAY,
        Self::new(Availability::DoNotDisturb, Activity::Presenting),
    ];

    /// The pairs that a user can prefer. Graph: setUserPreferredPresence.
    pub const PREFERRED: [Self; 6] = [
        Self::AVAILABLE,
        Self::new(Availability::Busy, Activity::Busy),
        Self::new(Availability::DoNotDisturb, Activity::DoNotDisturb),
        Self::new(Availability::BeRightBack, Activity::BeRightBack),
        Self::AWAY,
        Self::new(Availability::Offline, Activity::OffWork),
    ];

    /// Creates a pair, without a check that it is allowed.
    #[must_use]
    pub const fn new(availability: Availability, activity: Activity) -> Self {
        Self { availability, activity }
    }

    /// Returns the rank of the pair among a user's sessions. The highest rank decides.
    ///
    /// Graph: `DoNotDisturb > Busy > Available > Away`. Graph does not rank
    /// `AvailableInactive`; here it is between `Available` and `Away`.
    pub(crate) const fn rank(self) -> u8 {
        match (self.availability, self.activity) {
            (Availability::DoNotDisturb, _) => 5,
            (Availability::Busy, _) => 4,
            (Availability::Available, Activity::AvailableInactive) => 2,
            (Availability::Available, _) => 3,
            (Availability::Away | Availability::BeRightBack, _) => 1,
            (Availability::Offline, _) => 0,
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.availability, self.activity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_parses_in_any_case() {
        for value in Availability::VARIANTS {
            assert_eq!(value.to_string().parse(), Ok(*value));
            assert_eq!(value.to_string().to_uppercase().parse(), Ok(*value));
        }
        for value in Activity::VARIANTS {
            assert_eq!(value.to_string().to_lowercase().parse(), Ok(*value));
        }
        assert_eq!("Sleeping".parse::<Availability>(), Err(UnknownWord));
        assert_eq!("".parse::<Activity>(), Err(UnknownWord));
    }

    #[test]
    fn the_session_pairs_are_graphs_five() {
        let pairs: Vec<String> = Pair::OF_SESSION.iter().map(ToString::to_string).collect();
        assert_eq!(
            pairs,
            [
                "Available/Available",
                "Busy/InACall",
                "Busy/InAConferenceCall",
                "Away/Away",
                "DoNotDisturb/Presenting"
            ]
        );
    }

    #[test]
    fn the_preferred_pairs_are_graphs_six() {
        let pairs: Vec<String> = Pair::PREFERRED.iter().map(ToString::to_string).collect();
        assert_eq!(
            pairs,
            [
                "Available/Available",
                "Busy/Busy",
                "DoNotDisturb/DoNotDisturb",
                "BeRightBack/BeRightBack",
                "Away/Away",
                "Offline/OffWork"
            ]
        );
    }
}
