//! The states that a session may have, as far as its callers know.

use std::collections::BTreeSet;

use presenced::clock::Stopwatch;
use tokio::time::Duration;

/// How long a call whose response was lost may still be under way.
const UNDER_WAY: Duration = Duration::from_secs(4);

/// A state of the session: what it shows, and the stream that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State {
    pub(super) shown: Option<&'static str>,
    pub(super) owner: Option<usize>,
}

/// The state after a clear.
pub(super) const ENDED: State = State { shown: None, owner: None };

pub(super) fn set(pair: &'static str) -> State {
    State { shown: Some(pair), owner: None }
}

pub(super) fn held(pair: &'static str, owner: usize) -> State {
    State { shown: Some(pair), owner: Some(owner) }
}

/// The states that the session may have.
#[derive(Debug)]
pub(super) struct Model {
    states: BTreeSet<State>,
    /// States that calls without a response may still bring about, and since when.
    under_way: Vec<(Stopwatch, State)>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { states: BTreeSet::from([ENDED]), under_way: Vec::new() }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &State> {
        self.states.iter()
    }

    /// The stream that holds the session, if that is known.
    pub(super) fn owner(&self) -> Option<usize> {
        let owner = self.states.first()?.owner;
        owner.filter(|_| self.states.iter().all(|state| state.owner == owner))
    }

    pub(super) fn may_own(&self, stream: usize) -> bool {
        self.states.iter().any(|state| state.owner == Some(stream))
    }

    /// A call that takes the session was acknowledged. Only calls that are still under way can change
    /// it.
    pub(super) fn taken(&mut self, state: State) {
        self.under_way.retain(|(since, _)| since.elapsed() < UNDER_WAY);
        self.states = self.under_way.iter().map(|(_, state)| *state).chain([state]).collect();
    }

    /// A call that takes the session failed, and may have applied.
    pub(super) fn may_be_taken(&mut self, state: State) {
        self.states.insert(state);
    }

    /// The response of a call that takes the session was lost.
    pub(super) fn lost(&mut self, state: State) {
        self.states.insert(state);
        self.under_way.push((Stopwatch::start(), state));
    }

    /// A stream sent something that takes this effect, if the stream holds the session.
    pub(super) fn sent(&mut self, stream: usize, effect: State) {
        if self.may_own(stream) {
            self.states.insert(effect);
        }
    }

    /// What a stream sent was acknowledged. Another caller may have taken the session since.
    pub(super) fn applied(&mut self, stream: usize, effect: State) {
        self.states.retain(|state| state.owner != Some(stream) || *state == effect);
    }

    /// The stream was told that it does not hold the session.
    pub(super) fn disowned(&mut self, stream: usize) {
        self.states.retain(|state| state.owner != Some(stream));
        assert!(!self.states.is_empty(), "no other call took the session from stream {stream}");
    }
}
