//! The calls of a benchmark.

use std::collections::HashSet;

use fastrand::Rng;
use presenced_tools::pb::{Activity, Availability};

use crate::settings::{Operation, Settings};

/// An availability with an activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) availability: Availability,
    pub(crate) activity: Activity,
}

impl Pair {
    /// The five pairs that a session can have.
    const ALL: [Self; 5] = [
        Self::new(Availability::Available, Activity::Available),
        IN_A_CALL,
        Self::new(Availability::Busy, Activity::InAConferenceCall),
        Self::new(Availability::Away, Activity::Away),
        Self::new(Availability::DoNotDisturb, Activity::Presenting),
    ];

    const fn new(availability: Availability, activity: Activity) -> Self {
        Self { availability, activity }
    }

    /// The names of the availability and the activity at the HTTP API.
    pub(crate) const fn names(self) -> (&'static str, &'static str) {
        let availability = match self.availability {
            Availability::Available => "Available",
            Availability::Busy => "Busy",
            Availability::Away => "Away",
            _ => "DoNotDisturb",
        };
        let activity = match self.activity {
            Activity::Available => "Available",
            Activity::InACall => "InACall",
            Activity::InAConferenceCall => "InAConferenceCall",
            Activity::Away => "Away",
            _ => "Presenting",
        };
        (availability, activity)
    }
}

/// The pair of every set, unless sets are to change something.
pub(crate) const IN_A_CALL: Pair = Pair::new(Availability::Busy, Activity::InACall);

/// One call. Users are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Set(u32, Pair),
    Get(u32),
    GetFull(u32),
    History(u32),
    Clear(u32),
    BatchSet(Vec<u32>),
    BatchGet(Vec<u32>),
    Health,
}

/// Generates the calls of one benchmark.
#[derive(Debug)]
pub(crate) struct Calls {
    random: Rng,
    operation: Operation,
    users: u32,
    batch_size: u32,
    mix_sets: u8,
    changes: bool,
    /// The next user, while each user gets one call in turn.
    turn: Option<u32>,
}

impl Calls {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            random: Rng::new(),
            operation: settings.operation,
            users: settings.users,
            batch_size: settings.batch_size.unwrap_or(1).into(),
            mix_sets: settings.mix_sets,
            changes: settings.changes,
            turn: settings.each_user.then_some(0),
        }
    }

    /// Makes all following calls open a session for each user in turn, `batch_size` users
    /// in a call.
    pub(crate) fn load_all(&mut self, batch_size: u32) {
        (self.operation, self.batch_size, self.turn) = (Operation::BatchSet, batch_size, Some(0));
    }

    /// The next call, or none once each user has had its turn.
    pub(crate) fn next(&mut self) -> Option<Call> {
        if self.turn.is_some_and(|turn| turn >= self.users) {
            return None;
        }
        Some(match self.operation {
            Operation::Set => self.set(),
            Operation::Clear => Call::Clear(self.user()),
            Operation::BatchSet => Call::BatchSet(self.distinct()),
            Operation::BatchGet => Call::BatchGet(self.distinct()),
            Operation::Mix if self.random.u8(0..100) < self.mix_sets => self.set(),
            Operation::Get | Operation::Mix => Call::Get(self.user()),
            Operation::GetFull => Call::GetFull(self.user()),
            Operation::History => Call::History(self.user()),
            Operation::Health => Call::Health,
        })
    }

    fn set(&mut self) -> Call {
        let pair = if self.changes { self.random.choice(Pair::ALL) } else { None };
        Call::Set(self.user(), pair.unwrap_or(IN_A_CALL))
    }

    fn user(&mut self) -> u32 {
        let Some(turn) = &mut self.turn else { return self.random.u32(0..self.users) };
        *turn += 1;
        *turn - 1
    }

    fn distinct(&mut self) -> Vec<u32> {
        if let Some(first) = self.turn {
            let end = first.saturating_add(self.batch_size).min(self.users);
            self.turn = Some(end);
            return (first..end).collect();
        }
        let mut users = HashSet::new();
        while users.len() < self.batch_size as usize {
            users.insert(self.user());
        }
        users.into_iter().collect()
    }
}

impl Call {
    /// The number of sessions or presences in the call.
    pub(crate) fn members(&self) -> u64 {
        match self {
            Self::BatchSet(users) | Self::BatchGet(users) => users.len() as u64,
            _ => 1,
        }
    }
}

/// The id of a user.
pub(crate) fn user_id(user: u32) -> String {
    format!("bench-{user}")
}
