//! Availability, activity, and which of them go together.

use std::fmt;

use super::words;

words! {
    /// The base state of a session or a user.
    Availability {
        /// There and reachable.
        Available,
        /// There, and not to be interrupted lightly.
        Busy,
        /// Not at the device.
        Away,
        /// Away for a moment; only preferred, not set by a session.
        BeRightBack,
        /// There, and not to be interrupted.
        DoNotDisturb,
        /// No live session, or a user who wants to look so.
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
        /// Busy with whatever it is; only preferred.
        Busy,
        /// In a call.
        InACall,
        /// In a call of several.
        InAConferenceCall,
        /// Away.
        Away,
        /// Away for a moment; only preferred.
        BeRightBack,
        /// Not to be interrupted, whatever the reason; only preferred.
        DoNotDisturb,
        /// Showing something to others.
        Presenting,
        /// No live session; only shown, never set.
        Offline,
        /// Looks as if there were no live session; only preferred.
        OffWork,
    }
}

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

    /// The pairs that a user can prefer. Graph: setUserPreferredPresence.
    pub const PREFERRED: [Self; 6] = [
        Self::AVAILABLE,
        Self::new(Availability::Busy, Activity::Busy),
        Self::new(Availability::DoNotDisturb, Activity::DoNotDisturb),
        Self::new(Availability::BeRightBack, Activity::BeRightBack),
        Self::AWAY,
        Self::new(Availability::Offline, Activity::OffWork),
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
    use crate::presence::UnknownWord;

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
