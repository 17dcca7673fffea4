//! Small files in memory.
//!
//! What is kept is the content that was read, and the status that the kernel gave of it then. Before it is sent again
//! the kernel is asked once more (one call): only if nothing has changed is it still good. A file that was changed just
//! before it was read is not kept, since a further change could fall into the same tick of the kernel's clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stdserve_proto::accept_encoding::Coding;
use stdserve_sys::beneath::Status;

/// What is said of a file.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
    pub(super) etag: String,
    pub(super) last_modified: String,
    pub(super) content_type: String,
    /// What it is compressed in.
    pub(super) coding: Option<Coding>,
    /// It was compressed here: parts of it mean nothing, since another time it may come out otherwise.
    pub(super) made_here: bool,
    /// Nobody lays a compressed one beside it.
    pub(super) packed: bool,
    /// Which rule for `Cache-Control` is for it.
    pub(super) cache_rule: Option<usize>,
}

/// A file that can be sent.
#[derive(Debug)]
pub(super) struct Item {
    /// Of the file that it was read from.
    pub(super) status: Status,
    pub(super) facts: Facts,
    /// Its content, if that was read.
    pub(super) content: Option<Vec<u8>>,
}

/// Which form of a file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The file of that name.
    Plain,
    /// The one beside it, in a coding.
    Beside(Coding),
    /// Compressed here.
    Made,
}

impl Form {
    fn place(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Beside(coding) => 1 + coding as usize,
            Self::Made => 4,
        }
    }
}

type Forms = [Option<Arc<Item>>; 5];

/// What is kept, in two generations: what was used since the last turn, and what was before.
#[derive(Debug)]
pub(super) struct Kept {
    /// How large a generation grows, in bytes.
    bound: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Vec<u8>, Forms>,
    old: HashMap<Vec<u8>, Forms>,
    young_size: usize,
}

impl Kept {
    /// Keeps at most so many bytes.
    pub(super) fn new(memory: usize) -> Self {
        Self { bound: memory / 2, generations: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of `path`. Whether it is still so has to be asked of the kernel.
    pub(super) fn get(&self, path: &[u8], form: Form) -> Option<Arc<Item>> {
        if self.bound == 0 {
            return None;
        }
        let mut generations = self.lock();
        if let Some(item) = generations.young.get(path).and_then(|forms| forms[form.place()].clone()) {
            return Some(item);
        }
        let item = generations.old.get_mut(path)?[form.place()].take()?;
        self.add(&mut generations, path, form, Arc::clone(&item));
        Some(item)
    }

    /// Keeps `item`, unless it is large beside all that may be kept.
    pub(super) fn put(&self, path: &[u8], form: Form, item: Arc<Item>) {
        if size(path, &item) <= self.bound / 4 {
            self.add(&mut self.lock(), path, form, item);
        }
    }

    fn add(&self, generations: &mut Generations, path: &[u8], form: Form, item: Arc<Item>) {
        generations.young_size += size(path, &item);
        if generations.young_size > self.bound {
            generations.young_size = size(path, &item);
            generations.old = std::mem::take(&mut generations.young);
        }
        if let Some(forms) = generations.young.get_mut(path) {
            if let Some(before) = forms[form.place()].replace(item) {
                generations.young_size = generations.young_size.saturating_sub(size(path, &before));
            }
        } else {
            let mut forms = Forms::default();
            forms[form.place()] = Some(item);
            generations.young.insert(path.to_vec(), forms);
        }
    }
}

/// What an item costs, about: maps and allocations have their part.
fn size(path: &[u8], item: &Item) -> usize {
    const BESIDES: usize = 640;
    path.len() + item.content.as_ref().map_or(0, Vec::len) + BESIDES
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdserve_sys::beneath::Kind;

    fn item(size: usize) -> Arc<Item> {
        let status =
            Status { kind: Kind::File, size: 0, modified: (0, 0), changed: (0, 0), device: 0, inode: 0 };
        let facts = Facts {
            size: 0,
            modified: 0,
            etag: String::new(),
            last_modified: String::new(),
            content_type: String::new(),
            coding: None,
            made_here: false,
            packed: false,
            cache_rule: None,
        };
        Arc::new(Item { status, facts, content: Some(vec![0; size]) })
    }

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let kept = Kept::new(100_000);
        for n in 0..1000 {
            kept.put(format!("{n}").as_bytes(), Form::Plain, item(1000));
            assert!(kept.get(b"0", Form::Plain).is_some(), "used all the time, {n}");
            let generations = kept.lock();
            let count = |map: &HashMap<Vec<u8>, Forms>| map.values().flatten().flatten().count();
            assert!((count(&generations.young) + count(&generations.old)) * 1640 <= 100_000);
        }
        assert!(kept.get(b"1", Form::Plain).is_none(), "not used since long");
    }

    #[test]
    fn forms_are_apart_and_replaced() {
        let kept = Kept::new(1 << 20);
        kept.put(b"a", Form::Plain, item(1));
        kept.put(b"a", Form::Beside(Coding::Gzip), item(2));
        kept.put(b"a", Form::Made, item(3));
        let len = |form| kept.get(b"a", form).and_then(|item| item.content.as_ref().map(Vec::len));
        assert_eq!(
            [len(Form::Plain), len(Form::Beside(Coding::Gzip)), len(Form::Made)],
            [Some(1), Some(2), Some(3)]
        );
        assert_eq!(len(Form::Beside(Coding::Brotli)), None);
        let before = kept.lock().young_size;
        for _ in 0..100 {
            kept.put(b"a", Form::Plain, item(1));
        }
        assert_eq!(kept.lock().young_size, before);
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let kept = Kept::new(0);
        kept.put(b"a", Form::Plain, item(1));
        assert!(kept.get(b"a", Form::Plain).is_none());
        let kept = Kept::new(10_000);
        kept.put(b"a", Form::Plain, item(5000));
        assert!(kept.get(b"a", Form::Plain).is_none(), "too large beside the rest");
    }
}
