//! The two sides of a copy: absolute paths on the target, or specs of another machine that rsync reaches by itself.

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::primitives::files::path::At;

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Side(String);

impl Side {
    /// Checks a side.
    ///
    /// # Errors
    /// `input` if it is empty, `/`, relative, or would be taken for an option.
    pub(super) fn new(text: &str) -> Result<Self, Box<Failure>> {
        let side = Self(text.to_owned());
        if side.is_remote() {
            if text.starts_with('-') || text.contains(['\n', '\0']) {
                return Err(Failure::input(format!(
                    "it is no place for rsync: `{}`",
                    text.escape_debug()
                ))
                .into());
            }
            return Ok(side);
        }
        // The slash at the end has a meaning; everything else is made plain.
        let at = At::new(text).map_err(|mut failure| {
            if text.starts_with('/')
                && text.bytes().all(|byte| matches!(byte, b'/' | b'.'))
                && !text.contains("..")
            {
                failure.message = format!("rsync refuses the root of the file system: `{text}`");
            }
            failure
        })?;
        let slash = text.ends_with('/') || text.ends_with("/.");
        Ok(Self(format!("{at}{}", if slash { "/" } else { "" })))
    }

    /// Returns whether it is on another machine: `host:path`, `user@host:path`, `host::module`, `rsync://…`.
    pub(super) fn is_remote(&self) -> bool {
        let colon = self.0.find(':');
        colon.is_some_and(|colon| colon > 0 && !self.0[..colon].contains('/'))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn ends_with_slash(&self) -> bool {
        self.0.ends_with('/')
    }
}

impl TryFrom<String> for Side {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).map_err(|failure| failure.message)
    }
}

impl From<Side> for String {
    fn from(side: Side) -> Self {
        side.0
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses a copy of something into itself.
///
/// # Errors
/// `input`, naming both.
pub(super) fn apart(from: &str, to: &str) -> Result<(), Box<Failure>> {
    let (source, place) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
    if source.is_empty() || place.is_empty() {
        return Err(Failure::input(format!(
            "rsync refuses the root of the file system: {from} to {to}"
        ))
        .into());
    }
    let within =
        |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
    if within(place, source) {
        return Err(Failure::input(format!(
            "the target of rsync is inside its source: {to} in {from}"
        ))
        .into());
    }
    if within(source, place) {
        return Err(Failure::input(format!(
            "the source of rsync is inside its target: {from} in {to}"
        ))
        .with_hint("Name a place of its own, as a copy over the source would destroy it.")
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_keep_the_slash_that_means_something() {
        for (given, kept) in [
            ("/a//b/", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/b/.", "/a/b/"),
            ("root@10.0.0.5:/srv/", "root@10.0.0.5:/srv/"),
            ("rsync://host/module", "rsync://host/module"),
            ("host::module/x", "host::module/x"),
            ("/odd:name", "/odd:name"),
        ] {
            assert_eq!(Side::new(given).unwrap().as_str(), kept);
        }
        assert!(!Side::new("/odd:name").unwrap().is_remote());
    }

    #[test]
    fn the_root_relative_paths_and_options_are_refused() {
        for text in ["/", "//", "/.", "/./", "", "conf", "/a/../b", "-e:x"] {
            assert!(Side::new(text).is_err(), "{text}");
        }
        assert!(Side::new("/.").unwrap_err().message.contains("root of the file system"));
    }

    #[test]
    fn one_in_the_other_is_refused() {
        assert!(apart("/a/b", "/a/bc").is_ok());
        assert!(apart("/a/b/", "/a/b").is_err());
        assert!(apart("/a", "/a/b").unwrap_err().message.contains("inside its source"));
        assert!(apart("/a/b", "/a/").unwrap_err().message.contains("inside its target"));
    }
}
