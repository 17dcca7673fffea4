//! In which order a folder is listed.

use std::cmp::Ordering;

use super::Row;

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Name,
    Size,
    Date,
}

impl Key {
    pub(super) const ALL: [(Self, &'static str, &'static str); 3] =
        [(Self::Name, "name", "Name"), (Self::Size, "size", "Size"), (Self::Date, "date", "Modified (UTC)")];
}

/// A key, and which end comes first. Folders come before files in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) key: Key,
    pub(super) descending: bool,
}

impl Order {
    /// `sort=name|size|date` and `order=asc|desc`. What is something else means nothing.
    pub(super) fn of_query(query: &[u8]) -> Self {
        let mut order = Self { key: Key::Name, descending: false };
        for pair in query.split(|&byte| byte == b'&') {
            if let Some(value) = pair.strip_prefix(b"sort=") {
                let known = Key::ALL.iter().find(|(_, name, _)| name.as_bytes() == value);
                order.key = known.map_or(order.key, |(key, ..)| *key);
            } else if let Some(value) = pair.strip_prefix(b"order=") {
                order.descending = value == b"desc";
            }
        }
        order
    }

    pub(super) fn sort(self, rows: &mut [Row]) {
        rows.sort_by(|a, b| {
            let by_key = match self.key {
                Key::Name => Ordering::Equal,
                Key::Size => a.size.cmp(&b.size),
                Key::Date => a.modified.cmp(&b.modified),
            };
            // The size of a folder says nothing of what is in it.
            let by_key = if self.key == Key::Size && a.is_folder { Ordering::Equal } else { by_key };
            let within = by_key.then_with(|| natural(&a.name, &b.name));
            let within = if self.descending { within.reverse() } else { within };
            b.is_folder.cmp(&a.is_folder).then(within)
        });
    }
}

/// As people count: without regard to case, and `file9` before `file10`. Names that are alike in this stand in the
/// order of their bytes.
fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (left, right) {
            ([], []) => return a.cmp(b),
            ([], _) => return Ordering::Less,
            (_, []) => return Ordering::Greater,
            ([x, ..], [y, ..]) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (first, rest_left) = number(left);
                let (second, rest_right) = number(right);
                // Without zeros in front the longer number is the larger one.
                let order = first.len().cmp(&second.len()).then_with(|| first.cmp(second));
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (rest_left, rest_right);
            }
            ([x, rest_left @ ..], [y, rest_right @ ..]) => {
                let order = x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase());
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (rest_left, rest_right);
            }
        }
    }
}

/// The digits at the front without zeros before them, and what is behind.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().position(|&byte| byte != b'0').unwrap_or(end);
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["b", "a10", "A9", "a1", "a01", "a", "B2c", "b2"];
        names.sort_by(|a, b| natural(a.as_bytes(), b.as_bytes()));
        assert_eq!(names, ["a", "a01", "a1", "A9", "a10", "b", "b2", "B2c"]);
    }

    #[test]
    fn folders_first_in_any_order() {
        let row =
            |name: &str, is_folder, size, modified| Row { name: name.into(), is_folder, size, modified };
        let rows = [row("f", true, 9, 1), row("a", false, 3, 5), row("b", false, 1, 7), row("e", true, 5, 2)];
        let names = |query: &str| {
            let mut rows = rows.clone();
            Order::of_query(query.as_bytes()).sort(&mut rows);
            rows.iter().map(|row| row.name[0] as char).collect::<String>()
        };
        assert_eq!(names(""), "efab");
        assert_eq!(names("sort=name&order=desc"), "feba");
        assert_eq!(names("sort=size"), "efba");
        assert_eq!(names("sort=date&order=desc"), "efba");
        assert_eq!(names("sort=<script>&order=x"), "efab");
    }

    proptest! {
        #[test]
        fn it_is_an_order(mut names in prop::collection::vec("[a-bA-B0-2.]{0,6}", 0..20)) {
            // The standard library panics where a comparison is no total order.
            names.sort_by(|a, b| natural(a.as_bytes(), b.as_bytes()));
            for pair in names.windows(2) {
                prop_assert_ne!(natural(pair[0].as_bytes(), pair[1].as_bytes()), Ordering::Greater);
            }
        }
    }
}
