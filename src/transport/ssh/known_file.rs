//! One file of known host keys, as `sshd(8)` describes it: lists, globs, negation, hashed names, ports and markers. It is
//! parsed once and then asked for one host after another, so that a fleet does not read its own list for every target.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::base64;
use super::known_hosts::{Marker, blob_type};

/// How long ago a file must have been changed for it to be told by its times whether it was changed again.
const SETTLED: Duration = Duration::from_secs(2);

/// A line that could be read.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    pub(super) marker: Marker,
    names: String,
    pub(super) key_type: String,
    pub(super) key: Vec<u8>,
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct KnownFile {
    lines: Vec<Line>,
    /// By a name as it is looked up: the places of the lines that have it in a list of plain names.
    plain: HashMap<String, Vec<usize>>,
    /// The places of the other lines, which must be tried one by one.
    patterns: Vec<usize>,
    /// The numbers of the lines that could not be read, and why.
    pub(super) bad: Vec<(usize, &'static str)>,
}

/// What tells whether a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns whether a later change would show: the times of files are coarse.
    fn is_settled(&self) -> bool {
        let changed = u64::try_from(self.changed.0.max(self.modified.0)).unwrap_or(u64::MAX);
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|now| now.as_secs() > changed.saturating_add(SETTLED.as_secs()))
    }
}

/// What was read, by file.
type Kept = HashMap<PathBuf, (Stamp, Arc<KnownFile>)>;

impl KnownFile {
    /// Reads a file, unless it was read before and has not been changed since.
    ///
    /// # Errors
    /// As the system says them.
    pub(super) fn read(path: &Path) -> std::io::Result<Arc<Self>> {
        static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
        let stamp = Stamp::of(&std::fs::metadata(path)?);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get_or_insert_with(HashMap::new);
        if let Some((of, known)) = kept.get(path)
            && *of == stamp
        {
            return Ok(Arc::clone(known));
        }
        kept.remove(path);
        let known = Arc::new(Self::parse(&std::fs::read(path)?));
        // Taken before the bytes were: whatever came in between shows.
        if stamp.is_settled() {
            kept.insert(path.to_owned(), (stamp, Arc::clone(&known)));
        }
        Ok(known)
    }

    /// Parses the bytes of a file. A line that cannot be read never hides the others.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut file = Self::default();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let text = String::from_utf8_lossy(line);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match parse(index + 1, text) {
                Ok(line) => file.add(line),
                Err(why) => file.bad.push((index + 1, why)),
            }
        }
        file
    }

    fn add(&mut self, line: Line) {
        let place = self.lines.len();
        if line.names.contains(['*', '?', '!', '|']) {
            self.patterns.push(place);
        } else {
            for name in line.names.split(',') {
                let places = self.plain.entry(name.to_ascii_lowercase()).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        self.lines.push(line);
    }

    /// Returns the lines that name a host, in their order.
    pub(super) fn find(&self, name: &str) -> impl Iterator<Item = &Line> {
        let mut places: Vec<usize> = self
            .patterns
            .iter()
            .filter(|place| matches(&self.lines[**place].names, name))
            .copied()
            .collect();
        places.extend(self.plain.get(&name.to_ascii_lowercase()).into_iter().flatten());
        places.sort_unstable();
        places.into_iter().map(|place| &self.lines[place])
    }
}

fn parse(number: usize, text: &str) -> Result<Line, &'static str> {
    let mut words = text.split_ascii_whitespace().peekable();
    let marker = match words.peek() {
        Some(&"@revoked") => Marker::Revoked,
        Some(&"@cert-authority") => Marker::Authority,
        Some(word) if word.starts_with('@') => return Err("a marker that is not known"),
        _ => Marker::Plain,
    };
    if marker != Marker::Plain {
        words.next();
    }
    let names = words.next().ok_or("no host name")?.to_owned();
    let key_type = words.next().ok_or("no key type")?.to_owned();
    let key = words.next().and_then(base64::decode).ok_or("no readable key")?;
    if blob_type(&key) != Some(key_type.as_str()) {
        return Err("a key that is not of the type the line says");
    }
    Ok(Line { number, marker, names, key_type, key })
}

/// Returns whether a comma list of patterns names the host: one pattern must match, and no negated one may.
fn matches(patterns: &str, name: &str) -> bool {
    if let Some(hashed) = patterns.strip_prefix("|1|") {
        return matches_hash(hashed, name).unwrap_or(false);
    }
    let name = name.to_ascii_lowercase();
    let mut found = false;
    for pattern in patterns.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

fn matches_hash(hashed: &str, name: &str) -> Option<bool> {
    let (salt, digest) = hashed.split_once('|')?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&base64::decode(salt)?).ok()?;
    mac.update(name.to_ascii_lowercase().as_bytes());
    Some(mac.verify_slice(&base64::decode(digest)?).is_ok())
}

/// Matches `*` and `?`, in time proportional to the product of the lengths at worst.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAgEB";

    #[test]
    fn names_match_as_openssh_matches_them() {
        // `ssh-keygen -H` made the hashed names.
        let hashed = "|1|5QpE57UXNZx2K2g/BL5/TP9YMnM=|pv5c98xXHPZpw7Re7kd+mSZi2Js=";
        for (patterns, name, expected) in [
            ("obs1", "obs1", true),
            ("OBS1", "obs1", true),
            ("obs1", "obs10", false),
            ("a,obs1,b", "obs1", true),
            ("obs?", "obs1", true),
            ("obs?", "obs", false),
            ("*.example.org", "obs1.example.org", true),
            ("*.example.org", "example.org", false),
            ("*", "", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("*.example.org,!bad.example.org", "bad.example.org", false),
            ("!bad.example.org,*.example.org", "good.example.org", true),
            ("!other", "obs1", false),
            ("obs1", "[obs1]:2222", false),
            ("[obs1]:2222", "[obs1]:2222", true),
            ("[10.0.0.*]:2222", "[10.0.0.7]:2222", true),
            (hashed, "192.168.1.61", true),
            (hashed, "192.168.1.62", false),
            ("|1|garbage", "garbage", false),
            ("|1|!!|!!", "", false),
        ] {
            assert_eq!(matches(patterns, name), expected, "{patterns} {name}");
            let file = KnownFile::parse(format!("{patterns} {KEY}").as_bytes());
            assert_eq!(file.find(name).count(), usize::from(expected), "{patterns} {name}");
        }
    }

    #[test]
    fn lines_are_found_in_their_order() {
        let text = format!("a {KEY}\n* {KEY}\nb,a,a {KEY}\n!a,* {KEY}\n@revoked A {KEY}\n");
        let file = KnownFile::parse(text.as_bytes());
        let found = |name: &str| file.find(name).map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(found("a"), [1, 2, 3, 5]);
        assert_eq!(found("B"), [2, 3, 4]);
    }

    #[test]
    fn a_file_that_was_changed_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        let old = SystemTime::now() - Duration::from_secs(60);
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        };
        let known = |name: &str| KnownFile::read(&path).unwrap().find(name).count();
        write(&format!("a {KEY}\n"));
        assert_eq!((known("a"), known("b")), (1, 0));
        // As long as before, and of the same time.
        write(&format!("b {KEY}\n"));
        assert_eq!((known("a"), known("b")), (0, 1));
    }
}
