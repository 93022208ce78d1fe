//! Availability, activity, and which of them go together.

use std::{fmt, str::FromStr};

/// Declares an enum whose values have one word each: the word that Graph's
/// JSON, the database and people use.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$value_meta:meta])* $value:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_meta])* $value,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// The word, in Graph's PascalCase.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => stringify!($value),)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            /// Reads the word without regard to case.
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(word)).ok_or(UnknownWord)
            }
        }
    };
}

words! {
    /// The base state of a session or a user.
    Availability {
        /// There and reachable.
        Available,
        /// There, and not to be interrupted lightly.
        Busy,
        /// Not at the device.
        Away,
        /// There, and not to be interrupted.
        DoNotDisturb,
        /// No live session.
        Offline,
    }
}

words! {
    /// What a session or a user is doing.
    Activity {
        /// Nothing in particular.
        Available,
        /// Available, but not refreshed for a while; only shown, never set.
        AvailableInactive,
        /// In a call.
        InACall,
        /// In a call of several.
        InAConferenceCall,
        /// Away.
        Away,
        /// Showing something to others.
        Presenting,
        /// No live session; only shown, never set.
        Offline,
    }
}

/// A text that is no value of the enum it was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown word")]
pub struct UnknownWord;

/// What a session sets and a presence shows, e.g. `Busy` / `InACall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The base state.
    pub availability: Availability,
    /// Its supplement.
    pub activity: Activity,
}

impl Pair {
    /// An `Available` session right after it was set.
    pub const AVAILABLE: Self = Self::new(Availability::Available, Activity::Available);
    /// An `Available` session that has begun to fade.
    pub const INACTIVE: Self = Self::new(Availability::Available, Activity::AvailableInactive);
    /// Away, or an `Available` session that has faded.
    pub const AWAY: Self = Self::new(Availability::Away, Activity::Away);
    /// A user without a live session.
    pub const OFFLINE: Self = Self::new(Availability::Offline, Activity::Offline);

    /// The pairs that a session can set. Graph: setPresence.
    pub const OF_SESSION: [Self; 5] = [
        Self::AVAILABLE,
        Self::new(Availability::Busy, Activity::InACall),
        Self::new(Availability::Busy, Activity::InAConferenceCall),
        Self::AWAY,
        Self::new(Availability::DoNotDisturb, Activity::Presenting),
    ];

    /// A pair of any two values, allowed together or not.
    #[must_use]
    pub const fn new(availability: Availability, activity: Activity) -> Self {
        Self { availability, activity }
    }

    /// How much the pair counts among a user's sessions: the greatest decides.
    ///
    /// Graph: `DoNotDisturb > Busy > Available > Away`. Where Graph is silent,
    /// `AvailableInactive` ranks between `Available` and `Away`.
    pub(crate) const fn rank(self) -> u8 {
        match (self.availability, self.activity) {
            (Availability::DoNotDisturb, _) => 5,
            (Availability::Busy, _) => 4,
            (Availability::Available, Activity::AvailableInactive) => 2,
            (Availability::Available, _) => 3,
            (Availability::Away, _) => 1,
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
    fn every_word_reads_back_in_any_case() {
        for value in Availability::ALL {
            assert_eq!(value.as_str().parse(), Ok(*value));
            assert_eq!(value.as_str().to_uppercase().parse(), Ok(*value));
        }
        for value in Activity::ALL {
            assert_eq!(value.as_str().to_lowercase().parse(), Ok(*value));
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
}
