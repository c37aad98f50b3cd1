//! A file that always has the same name, and is renamed, removed, copied or truncated when it is rotated.

use super::Follower;
use crate::primitives::log::lines::Sink;
use crate::primitives::log::poll::{Answer, Entry};
use crate::primitives::log::segment::{Form, Lost, MISSES, Segment};
use crate::primitives::log::source::{Age, is_packed};

impl Follower {
    pub(super) fn look_plain(&mut self, answer: &Answer, wide: bool, sink: Sink<'_>) -> bool {
        let base = self.source.path().unwrap_or_default();
        let current = answer.entries.iter().find(|entry| entry.path == base);
        if let Some(current) = current {
            // An old file is gone and its inode has been given to the new one.
            let older = &self.segments[..self.segments.len().saturating_sub(1)];
            if let Some(index) = older.iter().position(|segment| segment.inode == current.inode) {
                self.drop_segment(index, sink);
            }
        }
        self.update(answer, sink);
        self.wide = false;
        let older = &self.segments[..self.segments.len().saturating_sub(1)];
        if let Some(index) = older.iter().position(Segment::is_cut_off) {
            // It was compressed or removed before it was read to its end.
            if wide {
                self.search_for(index, answer);
            }
            self.wide = !wide;
            return true;
        }
        let Some(last) = self.segments.last() else {
            // It may have been rotated away already since it appeared.
            self.wide = true;
            return !wide || self.adopt_new(answer, current);
        };
        let end = self.segments.len() - 1;
        match current {
            Some(current) if current.inode == last.inode => {
                self.misses = 0;
                self.pending.clear();
                if self.truncated.is_some() && !wide {
                    self.wide = true;
                    return true;
                }
                if let Some(lost) = self.truncated.take() {
                    let rotated = self.rotated(answer);
                    self.begin_search(lost, &rotated, end);
                }
                false
            }
            Some(_) if !wide => {
                self.wide = true;
                true
            }
            Some(_) if last.form == Form::Gone => self.adopt_new(answer, current),
            Some(_) if last.seen => {
                self.misses = 0;
                self.adopt_after_last(answer, current)
            }
            Some(_) => {
                // It may have been missed while it was being renamed.
                self.misses += 1;
                self.wide = true;
                if self.misses >= MISSES {
                    self.misses = 0;
                    self.search_for(end, answer);
                }
                true
            }
            // Renamed away or removed, and nothing new yet: what is left of it is read under its new name.
            None => {
                self.wide = true;
                self.misses = 1;
                if wide && last.missed >= MISSES && last.form != Form::Gone {
                    self.search_for(end, answer);
                    return true;
                }
                !wide || self.adopt_after_last(answer, None)
            }
        }
    }

    /// Looks for what is left of a segment that is not in the list any more.
    fn search_for(&mut self, index: usize, answer: &Answer) {
        let rotated = self.rotated(answer);
        let mut segment = self.segments.remove(index);
        // Had it been truncated too, the older place is the one to go on from.
        let place = self.truncated.take().unwrap_or_else(|| Lost::of(&mut segment));
        self.begin_search(place, &rotated, index);
    }

    /// Adds what was rotated away after the last segment was, and the file that has the name now.
    fn adopt_after_last(&mut self, answer: &Answer, current: Option<&Entry>) -> bool {
        let rotated = self.rotated(answer);
        let last = self.segments.last().map(|last| last.inode.clone()).unwrap_or_default();
        let Some(at) = rotated.iter().position(|entry| entry.inode == last) else {
            return self.adopt(current.cloned().into_iter().collect());
        };
        self.adopt(rotated[at + 1..].iter().chain(current).cloned().collect())
    }

    /// Adds what was not there when the place was taken, and the file that has the name now.
    fn adopt_new(&mut self, answer: &Answer, current: Option<&Entry>) -> bool {
        let rotated = self.rotated(answer);
        let new = |entry: &&Entry| !is_packed(&entry.path) && !self.older.contains(&entry.inode);
        self.adopt(rotated.iter().filter(new).chain(current).cloned().collect())
    }

    /// Adds new segments once two lists agree on them: one that was made during a rotation may lack one.
    fn adopt(&mut self, mut new: Vec<Entry>) -> bool {
        new.retain(|entry| !self.segments.iter().any(|segment| segment.inode == entry.inode));
        let inodes: Vec<String> = new.iter().map(|entry| entry.inode.clone()).collect();
        if inodes.is_empty() || self.pending == inodes {
            self.pending.clear();
            for entry in &new {
                self.push(entry);
            }
            return false;
        }
        self.pending = inodes;
        self.wide = true;
        true
    }

    /// Takes over names and sizes.
    fn update(&mut self, answer: &Answer, sink: Sink<'_>) {
        let last = self.segments.len().saturating_sub(1);
        for segment in &mut self.segments {
            let entry = answer
                .entries
                .iter()
                .filter(|entry| entry.inode == segment.inode)
                .max_by_key(|entry| entry.path == segment.path);
            segment.seen = entry.is_some();
            segment.missed = if segment.seen { 0 } else { segment.missed.saturating_add(1) };
            if let Some(entry) = entry {
                segment.path.clone_from(&entry.path);
                segment.size = entry.size;
            }
        }
        if self
            .segments
            .last()
            .is_some_and(|last| last.seen && last.form == Form::Plain && last.size < last.offset)
        {
            self.restart(last, last, sink);
        }
    }

    /// Returns what was rotated away, oldest first.
    fn rotated(&self, answer: &Answer) -> Vec<Entry> {
        let mut found: Vec<(Age, Entry)> = Vec::new();
        for entry in &answer.entries {
            let known = self.segments.iter().any(|segment| segment.inode == entry.inode);
            let age = match (self.source.rotated(&entry.path), known) {
                (Some(age), _) => age,
                (None, true) if Some(&entry.path) != self.source.path().as_ref() => Age::Date,
                (None, _) => continue,
            };
            if !found.iter().any(|(_, other)| other.inode == entry.inode) {
                found.push((age, entry.clone()));
            }
        }
        // Numbers say the order exactly; else the time of the last change does, which is how the list is sorted.
        if found.iter().all(|(age, _)| *age != Age::Date) {
            found.sort_by_key(|(age, _)| match age {
                Age::Number(number) => std::cmp::Reverse(*number),
                Age::Date => std::cmp::Reverse(0),
            });
        }
        found.into_iter().map(|(_, entry)| entry).collect()
    }
}
