//! Certificates of users' keys: in files, and what they say of themselves.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::keys::{public_line, put, read, string};
use super::known_hosts::blob_type;

/// How the types of certificates end.
const SUFFIX: &str = "-cert-v01@openssh.com";

/// A certificate of a user's key.
pub(super) struct Certificate {
    pub(super) path: PathBuf,
    /// The line of the file, as libssh2 takes it.
    pub(super) line: String,
    pub(super) blob: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// Why it cannot be used, as the end of "certificate FILE (…)".
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = read(path).map_err(|error| error.to_string())?;
        let line = text.trim();
        let blob = public_line(line)
            .filter(|blob| blob_type(blob).is_some_and(|kind| kind.ends_with(SUFFIX)));
        match blob {
            Some(blob) => Ok(Self { path: path.to_owned(), line: line.to_owned(), blob }),
            None => Err("not a certificate".to_owned()),
        }
    }

    /// Returns the certificate that lies beside a private key, if one does.
    pub(super) fn beside(key: &Path) -> Option<Self> {
        let mut path = key.as_os_str().to_owned();
        path.push("-cert.pub");
        Self::read(Path::new(&path)).ok()
    }

    /// Returns the public key that it certifies, in the form that is sent.
    pub(super) fn key(&self) -> Option<Vec<u8>> {
        let mut rest = self.blob.as_slice();
        let kind = std::str::from_utf8(string(&mut rest)?).ok()?;
        let plain = kind.strip_suffix(SUFFIX)?;
        string(&mut rest)?;
        let mut key = Vec::new();
        put(&mut key, plain.as_bytes());
        for _ in 0..parts(plain) {
            put(&mut key, string(&mut rest)?);
        }
        Some(key)
    }
}

/// Returns whether this is a certificate, as agents list it.
pub(super) fn is_one(blob: &[u8]) -> bool {
    blob_type(blob).is_some_and(|kind| kind.ends_with(SUFFIX))
}

/// Returns why a server may refuse a certificate for `user`, as the end of a sentence; none if nothing is wrong with it
/// that it says itself, or if it is none.
pub(super) fn why_not(blob: &[u8], user: &str) -> Option<String> {
    let terms = Terms::read(blob)?;
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    if terms.before <= now {
        return Some(format!("it expired at {}", time(terms.before)));
    }
    if terms.after > now {
        return Some(format!("it is valid from {} on", time(terms.after)));
    }
    let others = !terms.users.is_empty() && !terms.users.iter().any(|named| named == user);
    others.then(|| format!("it is for {}", terms.users.join(", ")))
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|at| Timestamp::from_second(at).ok());
    time.unwrap_or(Timestamp::MAX)
        .to_zoned(crate::zone::local())
        .strftime("%Y-%m-%d %H:%M %Z")
        .to_string()
}

/// What a certificate says of its use.
#[derive(Debug)]
struct Terms {
    users: Vec<String>,
    /// In seconds since 1970.
    after: u64,
    before: u64,
}

impl Terms {
    /// Reads what follows the key (`PROTOCOL.certkeys` of OpenSSH's source).
    fn read(blob: &[u8]) -> Option<Self> {
        let mut rest = blob;
        let kind = std::str::from_utf8(string(&mut rest)?).ok()?;
        let plain = kind.strip_suffix(SUFFIX)?;
        for _ in 0..=parts(plain) {
            string(&mut rest)?;
        }
        let (_serial_and_type, mut rest) = rest.split_at_checked(12)?;
        let _key_id = string(&mut rest)?;
        let mut names = string(&mut rest)?;
        let mut users = Vec::new();
        while !names.is_empty() {
            let name = String::from_utf8_lossy(string(&mut names)?).into_owned();
            users.push(name.chars().filter(|c| !c.is_control()).collect());
        }
        let mut number = || {
            let (bytes, after) = rest.split_at_checked(8)?;
            rest = after;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        Some(Self { users, after: number()?, before: number()? })
    }
}

/// Returns how many texts the public key of a type has.
fn parts(plain: &str) -> usize {
    match plain {
        "ssh-ed25519" => 1,
        "sk-ecdsa-sha2-nistp256@openssh.com" | "sk-ecdsa-sha2-nistp256" => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_why_it_may_be_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keygen = |arguments: &[&str]| {
            let mut program = std::process::Command::new("ssh-keygen");
            assert!(
                program.current_dir(&dir).arg("-q").args(arguments).status().unwrap().success()
            );
        };
        keygen(&["-t", "ed25519", "-N", "", "-f", "ca"]);
        for (kind, bits) in [("ed25519", "256"), ("ecdsa", "384"), ("rsa", "2048")] {
            keygen(&["-t", kind, "-b", bits, "-N", "", "-f", kind]);
            let public = format!("{kind}.pub");
            let signed = |more: &[&str]| {
                keygen(&[&["-s", "ca", "-I", "me"], more, &[&public]].concat());
                let blob = Certificate::beside(&dir.path().join(kind)).unwrap().blob;
                assert!(is_one(&blob));
                why_not(&blob, "ann")
            };
            assert_eq!(signed(&[]), None, "{kind}");
            assert_eq!(signed(&["-n", "bob,ann"]), None, "{kind}");
            assert_eq!(signed(&["-n", "bob,eve"]).unwrap(), "it is for bob, eve", "{kind}");
            let expired = signed(&["-V", "20200102:20200203"]).unwrap();
            assert!(expired.starts_with("it expired at 2020-02-0"), "{expired}");
            let future = signed(&["-V", "21000102:21000203"]).unwrap();
            assert!(future.starts_with("it is valid from 2100-01-0"), "{future}");
            let plain = public_line(&std::fs::read_to_string(dir.path().join(&public)).unwrap());
            assert!(!is_one(plain.as_ref().unwrap()) && why_not(&plain.unwrap(), "ann").is_none());
        }
        assert_eq!(why_not(b"\0\0\0\x04abcd", "ann"), None);
    }
}
