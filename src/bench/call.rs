//! What is called, and for whom.

use std::collections::HashSet;

use fastrand::Rng;

use crate::{
    presence::{Activity, Availability, Pair},
    settings::{BenchOperation, BenchSettings},
};

/// What a set shows unless it is to change something.
pub(super) const IN_A_CALL: Pair = Pair::new(Availability::Busy, Activity::InACall);

/// One call; users are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Set(u32, Pair),
    Get(u32),
    Clear(u32),
    BatchSet(Vec<u32>),
    BatchGet(Vec<u32>),
    Health,
}

/// The calls of one benchmark.
#[derive(Debug)]
pub(super) struct Calls {
    random: Rng,
    operation: BenchOperation,
    users: u32,
    batch_size: u32,
    mix_sets: u8,
    changes: bool,
    /// While each user gets a session, the first that has none.
    unloaded: Option<u32>,
}

impl Calls {
    pub(super) fn new(settings: &BenchSettings) -> Self {
        Self {
            random: Rng::new(),
            operation: settings.operation,
            users: settings.users,
            batch_size: settings.batch_size.unwrap_or(1).into(),
            mix_sets: settings.mix_sets,
            changes: settings.changes,
            unloaded: None,
        }
    }

    /// From now on sets of one user after the other, `batch_size` in a call,
    /// until all have a session.
    pub(super) fn load_all(&mut self, batch_size: u32) {
        (self.unloaded, self.batch_size) = (Some(0), batch_size);
    }

    /// The next call; none when all users are loaded.
    pub(super) fn next(&mut self) -> Option<Call> {
        if let Some(first) = self.unloaded {
            let end = first.saturating_add(self.batch_size).min(self.users);
            self.unloaded = Some(end);
            return (first < end).then(|| Call::BatchSet((first..end).collect()));
        }
        Some(match self.operation {
            BenchOperation::Set => self.set(),
            BenchOperation::Clear => Call::Clear(self.user()),
            BenchOperation::BatchSet => Call::BatchSet(self.distinct()),
            BenchOperation::BatchGet => Call::BatchGet(self.distinct()),
            BenchOperation::Mix if self.random.u8(0..100) < self.mix_sets => self.set(),
            BenchOperation::Get | BenchOperation::Mix => Call::Get(self.user()),
            BenchOperation::Health => Call::Health,
        })
    }

    fn set(&mut self) -> Call {
        let pair = if self.changes { self.random.choice(Pair::OF_SESSION) } else { None };
        Call::Set(self.user(), pair.unwrap_or(IN_A_CALL))
    }

    fn user(&mut self) -> u32 {
        self.random.u32(0..self.users)
    }

    fn distinct(&mut self) -> Vec<u32> {
        let mut users = HashSet::new();
        while users.len() < self.batch_size as usize {
            users.insert(self.user());
        }
        users.into_iter().collect()
    }
}

impl Call {
    /// The sessions or presences in it.
    pub(super) fn members(&self) -> u64 {
        match self {
            Self::BatchSet(users) | Self::BatchGet(users) => users.len() as u64,
            _ => 1,
        }
    }
}

/// The id of a user.
pub(super) fn user_id(user: u32) -> String {
    format!("bench-{user}")
}
