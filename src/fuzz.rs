//! What reads bytes that others wrote, as functions of any bytes: the targets in `fuzz/` call them, and the tests here
//! over the inputs kept in `tests/data/fuzz`. None may panic, hang, or grow beyond what it was given.

use std::path::{Path, PathBuf};

pub use crate::effect::{fuzz_deadman as deadman, fuzz_locks as locks};
pub use crate::journal::fuzz as journal;
pub use crate::primitives::{fuzz_log as log, fuzz_rsync as rsync};
pub use crate::transport::receipt::fuzz as receipts;
#[cfg(feature = "ssh")]
pub use crate::transport::ssh::fuzz as known_hosts;

use crate::session::config::{Config, Environment};

/// A configuration: it is read, or what is wrong is said with a place that exists.
///
/// # Panics
/// If that does not hold.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let env = Environment {
        vars: [("HOME", "/home/jim"), ("USER", "jim")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        dir: PathBuf::from("/work"),
        etc: PathBuf::from("/etc/upgrade-host"),
        uid: 1000,
    };
    match Config::parse(&text, Path::new("upgrade-host.toml"), &env) {
        Ok(config) => drop(format!("{config:?}")),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A name, and what is called with any bytes.
    type Target = (&'static str, fn(&[u8]));

    const TARGETS: &[Target] = &[
        ("config", config),
        ("deadman", deadman),
        ("journal", journal),
        #[cfg(feature = "ssh")]
        ("known_hosts", known_hosts),
        ("locks", locks),
        ("log", log),
        ("receipts", receipts),
        ("rsync", rsync),
    ];

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    fn names(dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(root().join(dir)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The inputs that are kept for a target.
    fn kept(target: &str) -> Vec<Vec<u8>> {
        let dir = root().join("tests/data/fuzz").join(target);
        let inputs: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(!inputs.is_empty(), "{}", dir.display());
        inputs
    }

    #[test]
    fn every_target_is_tested_here_and_built_there() {
        let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names("fuzz/fuzz_targets"), known);
        assert_eq!(names("tests/data/fuzz"), known);
    }

    #[test]
    fn what_was_found_once_stays_found() {
        for (name, target) in TARGETS {
            for input in kept(name) {
                target(&input);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_will_do(
            target in 0..TARGETS.len(),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            TARGETS[target].1(&bytes);
        }

        #[test]
        fn what_is_nearly_right_will_do(
            target in 0..TARGETS.len(),
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8),
        ) {
            let (name, target) = TARGETS[target];
            let inputs = kept(name);
            let mut bytes = inputs[which.index(inputs.len())].clone();
            for (at, byte, how) in changes {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 => bytes.insert(at, byte),
                    1 => bytes.truncate(at),
                    2 => bytes.extend_from_within(at..),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
                }
            }
            target(&bytes);
        }
    }
}
