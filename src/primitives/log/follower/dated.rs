//! Files with a date in their name: the next one begins when its date comes.

use super::Follower;
use crate::primitives::log::lines::Sink;
use crate::primitives::log::poll::Answer;
use crate::primitives::log::segment::Form;
use crate::primitives::log::source::{Date, is_packed};

impl Follower {
    pub(super) fn look_dated(&mut self, answer: &Answer, sink: Sink<'_>) -> bool {
        let last = self.segments.len().saturating_sub(1);
        for index in 0..self.segments.len() {
            let segment = &mut self.segments[index];
            if segment.form != Form::Plain {
                continue;
            }
            let Some(entry) = answer.entries.iter().find(|entry| entry.path == segment.path) else {
                let packed = segment.date.and_then(|date| self.names.get(&date));
                // Compressed while nobody looked.
                if let Some(packed) = packed.filter(|path| index == last && is_packed(path)) {
                    segment.path.clone_from(packed);
                    segment.form = Form::Packed;
                }
                continue;
            };
            let other = entry.inode != segment.inode;
            segment.size = entry.size;
            if other || entry.size < segment.offset {
                segment.inode.clone_from(&entry.inode);
                segment.lines.flush(&segment.path, sink);
                segment.restart();
            }
        }
        let newer: Vec<String> = self.newer().map(|(_, path)| path.clone()).collect();
        let mut more = false;
        for path in newer {
            let listed = answer.entries.iter().find(|entry| entry.path == path);
            match listed {
                Some(entry) => self.push(&entry.clone()),
                // What was asked for and is not there has gone again.
                None => more |= !self.asked.contains(&path),
            }
        }
        more
    }

    pub(super) fn learn(&mut self, names: &[String]) {
        self.names.clear();
        for name in names {
            let Some(date) = self.source.date(name) else { continue };
            // While it is being compressed there are both.
            let known = self.names.entry(date).or_insert_with(|| name.clone());
            if is_packed(known) {
                known.clone_from(name);
            }
        }
    }

    /// Returns the dated names that come after the last segment.
    pub(super) fn newer(&self) -> impl Iterator<Item = (&Date, &String)> {
        let last = self.segments.last().and_then(|segment| segment.date);
        self.names.iter().filter(move |(date, _)| Some(**date) > last)
    }
}
