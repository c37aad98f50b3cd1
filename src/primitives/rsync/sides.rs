//! The two sides of a copy: absolute paths on the target, `local:` paths on the machine that upgrade-host runs on, or
//! specs of another machine that rsync on the target reaches by itself.

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::primitives::files::path::At;

/// What a path begins with that is one of the machine that upgrade-host runs on: the name that it has as a target.
const HERE: &str = "local:";

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
        if let Some(path) = text.strip_prefix(HERE) {
            return Ok(Self(format!("{HERE}{}", Self::plain(path)?)));
        }
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
        Self::plain(text).map(Self)
    }

    /// Makes an absolute path plain; the slash at its end has a meaning and stays.
    fn plain(text: &str) -> Result<String, Box<Failure>> {
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
        Ok(format!("{at}{}", if slash { "/" } else { "" }))
    }

    /// Returns whether it is on another machine: `host:path`, `user@host:path`, `host::module`, `rsync://…`.
    pub(super) fn is_remote(&self) -> bool {
        let colon = self.0.find(':');
        !self.is_here() && colon.is_some_and(|colon| colon > 0 && !self.0[..colon].contains('/'))
    }

    /// Returns whether it is on the machine that upgrade-host runs on.
    pub(super) fn is_here(&self) -> bool {
        self.0.starts_with(HERE)
    }

    /// Returns the path, or the spec.
    pub(super) fn as_str(&self) -> &str {
        self.0.strip_prefix(HERE).unwrap_or(&self.0)
    }

    /// Returns the same path on the target, which is the machine that upgrade-host runs on.
    pub(super) fn on_target(&self) -> Self {
        Self(self.as_str().to_owned())
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

/// Refuses sides that no copy has: both on other machines, or on machines that nothing connects.
///
/// # Errors
/// `input`, naming both.
pub(super) fn connected(from: &[Side], to: &Side) -> Result<(), Box<Failure>> {
    let Some(first) = from.first() else {
        return Err(Failure::input("nothing is named to be copied").into());
    };
    let refuse = |source: &Side, why: &str, hint: &str| {
        let failure = Failure::input(format!("{why}: {source} and {to}"));
        Err(if hint.is_empty() { failure } else { failure.with_hint(hint) }.into())
    };
    for source in from {
        if source.is_remote() && to.is_remote() {
            return refuse(source, "both sides are on other machines", "");
        }
        if source.is_here() && to.is_here() {
            let hint = "Leave `local:` out of the side that is on the target.";
            return refuse(source, "both sides are on the machine that upgrade-host runs on", hint);
        }
        if (source.is_here() && to.is_remote()) || (source.is_remote() && to.is_here()) {
            let hint = "Copy to the target first, and from there.";
            return refuse(source, "neither side is on the target", hint);
        }
        if source.is_here() != first.is_here() {
            let hint = "Make a copy of its own for each machine.";
            return refuse(source, "the sources are on two machines", hint);
        }
        if !source.is_remote() && !to.is_remote() && source.is_here() == to.is_here() {
            apart(source.as_str(), to.as_str())?;
        }
    }
    Ok(())
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
    fn a_path_of_this_machine_is_told_from_one_of_another() {
        let here = Side::new("local://a/./b/").unwrap();
        assert_eq!((here.as_str(), here.to_string().as_str()), ("/a/b/", "local:/a/b/"));
        assert!(here.is_here() && !here.is_remote());
        assert_eq!(here.on_target().to_string(), "/a/b/");
        assert!(Side::new("locals:/a").unwrap().is_remote());
        for text in ["local:", "local:a", "local:/", "local:/a/../b", "local:/a\nb"] {
            assert!(Side::new(text).is_err(), "{text}");
        }
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
