//! The table of names: looked up without a lock, added to under it.
//!
//! A name is known by a hash of 128 bits, keyed by what the processes that share the memory have from their common
//! ancestor: nobody outside can make two names meet.

use std::hash::BuildHasher;
#[cfg(not(all(test, loom)))]
use std::{hash::RandomState as State, sync::atomic::Ordering};

// The same keys in each run of the model.
#[cfg(all(test, loom))]
use {loom::sync::atomic::Ordering, std::hash::BuildHasherDefault, std::hash::DefaultHasher};

#[cfg(all(test, loom))]
type State = BuildHasherDefault<DefaultHasher>;

use super::death;
use super::layout::{Layout, NAMES};

/// What hashes names.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys([State; 2]);

/// A hashed name.
pub(super) type Key = [u64; 2];

impl Keys {
    pub(super) fn key(&self, name: &str) -> Key {
        [self.0[0].hash_one(name), self.0[1].hash_one(name)]
    }
}

/// There are as many names as there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Layout<'_> {
    /// Where a name stands, or the slot that it would have.
    pub(super) fn find(&self, key: Key) -> Result<u32, usize> {
        let count = self.slots.len();
        let begin = (key[0] % count as u64) as usize;
        let mut free = begin;
        for step in 0..count {
            free = (begin + step) % count;
            let Some(index) = self.slots[free].load(Ordering::Acquire).checked_sub(1) else { break };
            let found = self.names.get(index as usize).is_some_and(|name| {
                name.key.iter().zip(key).all(|(word, wanted)| word.load(Ordering::Relaxed) == wanted)
            });
            if found {
                return Ok(index);
            }
        }
        Err(free)
    }

    /// Adds a name, if it is not there. Under the lock.
    pub(super) fn add(&self, key: Key) -> Result<u32, Full> {
        let slot = match self.find(key) {
            Ok(index) => return Ok(index),
            Err(slot) => slot,
        };
        let index = self.counters.names.load(Ordering::Relaxed);
        let name = self.names.get(index as usize).filter(|_| index < NAMES as u64).ok_or(Full)?;
        for (word, value) in name.key.iter().zip(key) {
            word.store(value, Ordering::Relaxed);
            death::point();
        }
        // In this order: whoever dies between the two leaves a name that nobody finds, and not two in one place.
        self.counters.names.store(index + 1, Ordering::Relaxed);
        death::point();
        self.slots[slot].store(index as u32 + 1, Ordering::Release);
        Ok(index as u32)
    }
}
