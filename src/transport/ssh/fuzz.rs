//! Files of known hosts that anybody may have written to.

use std::path::Path;

use super::base64;
use super::known_file::{KnownFile, glob};
use super::known_hosts::{Known, Marker, Verdict};

/// A name in the first line, and a file in the others: each line is read or warned about, and a key that is revoked is
/// never taken.
///
/// # Panics
/// If that does not hold.
pub fn fuzz(bytes: &[u8]) {
    let (name, file) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b""[..]),
    };
    let name = String::from_utf8_lossy(name);
    let mut known = Known::default();
    known.add(Path::new("known_hosts"), &KnownFile::parse(file), &name);
    let lines = file.split(|byte| *byte == b'\n').count();
    assert!(known.entries.len() + known.warnings.len() <= lines);
    assert!(known.key_types().len() <= known.entries.len());
    for entry in &known.entries {
        assert!((1..=lines).contains(&entry.line));
        let revoked = known
            .entries
            .iter()
            .any(|other| other.marker == Marker::Revoked && other.key == entry.key);
        let verdict = known.judge(&entry.key_type, &entry.key);
        assert_eq!(matches!(verdict, Verdict::Revoked(_)), revoked);
        if !revoked && entry.marker == Marker::Plain {
            assert_eq!(verdict, Verdict::Match);
        }
        assert_eq!(base64::decode(&base64::encode(&entry.key)), Some(entry.key.clone()));
    }
    assert!(glob(b"*", name.as_bytes()));
    glob(file, name.as_bytes());
}
