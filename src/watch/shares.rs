//! A limit on what all have together, and on what one of them has.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is taken of a limit, by whom. Clones share one count.
#[derive(Debug)]
pub struct Shares<K: Eq + Hash>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K: Eq + Hash> {
    taken: Mutex<Taken<K>>,
    max: u32,
    each_max: u32,
}

#[derive(Debug)]
struct Taken<K> {
    all: u32,
    /// Without those that have none.
    by: HashMap<K, u32>,
}

/// The limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The limit on what all have together, in whole.
    All(u32),
    /// The limit on what one has.
    Own(u32),
}

/// A part of the limit, which is free again when this is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    shared: Arc<Shared<K>>,
    by: K,
    number: u32,
}

impl<K: Eq + Hash> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Nothing is taken of `max`, of which one may have `each_max`.
    #[must_use]
    pub fn new(max: u32, each_max: u32) -> Self {
        let taken = Mutex::new(Taken { all: 0, by: HashMap::new() });
        Self(Arc::new(Shared { taken, max, each_max }))
    }

    /// Takes `number` for `by`.
    pub fn take(&self, by: K, number: u32) -> Result<Share<K>, Exceeded> {
        let mut share = Share { shared: Arc::clone(&self.0), by, number: 0 };
        share.cover(number)?;
        Ok(share)
    }
}

impl<K: Clone + Eq + Hash> Share<K> {
    /// Takes more, so that the share is `number` or more.
    pub fn cover(&mut self, number: u32) -> Result<(), Exceeded> {
        let more = number.saturating_sub(self.number);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.shared.taken();
        let all = taken.all.saturating_add(more);
        if all > self.shared.max {
            return Err(Exceeded::All(self.shared.max));
        }
        let own = taken.by.get(&self.by).copied().unwrap_or_default().saturating_add(more);
        if own > self.shared.each_max {
            return Err(Exceeded::Own(self.shared.each_max));
        }
        taken.all = all;
        taken.by.insert(self.by.clone(), own);
        drop(taken);
        self.number = self.number.saturating_add(more);
        Ok(())
    }
}

impl<K: Eq + Hash> Shared<K> {
    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shared.taken();
        taken.all -= self.number;
        if let Some(left) = taken.by.get_mut(&self.by) {
            *left -= self.number;
            if *left == 0 {
                taken.by.remove(&self.by);
            }
        }
    }
}
