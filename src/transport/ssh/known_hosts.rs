//! What the files of known host keys say of one host. A line that cannot be read is a warning, never a reason to ignore
//! the others.

use std::path::{Path, PathBuf};

use super::known_file::KnownFile;

/// What a line says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// The key is the host's.
    Plain,
    /// The key must never be accepted.
    Revoked,
    /// The key signs host certificates, which libssh2 cannot check.
    Authority,
}

/// One line that matches a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) marker: Marker,
    pub(super) key_type: String,
    pub(super) key: Vec<u8>,
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

/// All that the files say of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) entries: Vec<Entry>,
    pub(super) warnings: Vec<String>,
}

/// How the files answer for the key that a host has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It is known.
    Match,
    /// It is revoked, by this line.
    Revoked(&'a Entry),
    /// Another key of the same type is known.
    Changed(&'a Entry),
    /// Only a certificate authority is known.
    AuthorityOnly(&'a Entry),
    /// Nothing is known; or only keys of other types are.
    Unknown,
}

impl Known {
    /// Reads what `files` say of `name`. A file that is not there says nothing.
    pub(super) fn read(files: &[PathBuf], name: &str) -> Self {
        let mut known = Self::default();
        for file in files {
            match KnownFile::read(file) {
                Ok(read) => known.add(file, &read, name),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => known.warnings.push(format!("{}: {error}", file.display())),
            }
        }
        known
    }

    /// Adds what a file says of `name`.
    pub(super) fn add(&mut self, path: &Path, file: &KnownFile, name: &str) {
        self.entries.extend(file.find(name).map(|line| Entry {
            marker: line.marker,
            key_type: line.key_type.clone(),
            key: line.key.clone(),
            file: path.to_owned(),
            line: line.number,
        }));
        let warning = |(number, why): &(usize, &str)| format!("{}:{number}: {why}", path.display());
        self.warnings.extend(file.bad.iter().map(warning));
    }

    /// Judges the key that the host has shown.
    pub(super) fn judge(&self, key_type: &str, key: &[u8]) -> Verdict<'_> {
        let find = |marker: Marker, test: &dyn Fn(&Entry) -> bool| {
            self.entries.iter().find(|entry| entry.marker == marker && test(entry))
        };
        if let Some(entry) = find(Marker::Revoked, &|entry| entry.key == key) {
            return Verdict::Revoked(entry);
        }
        if find(Marker::Plain, &|entry| entry.key == key).is_some() {
            return Verdict::Match;
        }
        if let Some(entry) = find(Marker::Plain, &|entry| entry.key_type == key_type) {
            return Verdict::Changed(entry);
        }
        if find(Marker::Plain, &|_| true).is_none()
            && let Some(entry) = find(Marker::Authority, &|_| true)
        {
            return Verdict::AuthorityOnly(entry);
        }
        Verdict::Unknown
    }

    /// Returns the types of the keys known for the host, in the order of the files.
    pub(super) fn key_types(&self) -> Vec<&str> {
        let mut types = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.marker == Marker::Plain) {
            if !types.contains(&entry.key_type.as_str()) {
                types.push(entry.key_type.as_str());
            }
        }
        types
    }
}

/// Returns the type that the key itself carries.
pub(super) fn blob_type(key: &[u8]) -> Option<&str> {
    let length = u32::from_be_bytes(key.get(..4)?.try_into().ok()?);
    std::str::from_utf8(key.get(4..4usize.checked_add(usize::try_from(length).ok()?)?)?).ok()
}

/// Returns the name under which a host is looked up.
pub(super) fn lookup_name(address: &str, port: u16, alias: Option<&str>) -> String {
    match alias {
        Some(alias) => alias.to_ascii_lowercase(),
        None if port == 22 => address.to_ascii_lowercase(),
        None => format!("[{}]:{port}", address.to_ascii_lowercase()),
    }
}

/// Returns the files that are read if none are given.
pub(super) fn default_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(home) = std::env::var_os("HOME") {
        let dir = Path::new(&home).join(".ssh");
        files.extend([dir.join("known_hosts"), dir.join("known_hosts2")]);
    }
    files.push(PathBuf::from("/etc/ssh/ssh_known_hosts"));
    files
}

/// Adds a line to `file`: written aside and renamed, so that a reader never sees half of it. A device keeps nothing.
pub(super) fn append(file: &Path, line: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::DirBuilderExt;

    // Another run may trust another host at the same moment: the lock keeps the one from undoing the other.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // A symbolic link to a file kept elsewhere stays one.
    let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // `/dev/null` is often named so that nothing is remembered; it must not be replaced by a file.
    if std::fs::metadata(&file).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(());
    }
    let mut bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    // Temporary files are made 0600.
    let mut aside = tempfile::NamedTempFile::new_in(dir)?;
    aside.write_all(&bytes)?;
    aside.as_file().sync_all()?;
    aside.persist(&file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::base64;
    use super::*;
    use proptest::prelude::*;

    fn key(kind: &str, fill: u8) -> Vec<u8> {
        let mut bytes = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 2, fill, fill]);
        bytes
    }

    fn line(names: &str, kind: &str, fill: u8) -> String {
        format!("{names} {kind} {}", base64::encode(&key(kind, fill)))
    }

    fn known(text: &str, name: &str) -> Known {
        let mut known = Known::default();
        known.add(Path::new("known_hosts"), &KnownFile::parse(text.as_bytes()), name);
        known
    }

    const ED: &str = "ssh-ed25519";

    #[test]
    fn names_match_as_ssh_keygen_finds_them() {
        use std::process::{Command, Stdio};
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let keygen = |arguments: &[&str]| {
            let mut program = Command::new("ssh-keygen");
            program.args(arguments).arg("-f").arg(&file);
            program.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
        };
        assert!(keygen(&["-q", "-t", "ed25519", "-N", ""]));
        let public = std::fs::read_to_string(dir.path().join("known_hosts.pub")).unwrap();
        let names = ["obs1", "obs10", "a.b.org", "10.0.0.7", "[10.0.0.7]:2222", "[obs1]:22", "::1"];
        let mut found = 0;
        for patterns in [
            "obs1",
            "OBS1",
            "obs?",
            "obs??",
            "obs*",
            "*",
            "*,!obs1",
            "!obs1,*",
            "!obs1",
            "*.b.org,obs1",
            "*.b.org,!a.*",
            "10.0.0.*",
            "10.0.0.7,obs1",
            "[10.0.0.*]:2222",
            "[10.0.0.7]:*",
            "[obs1]:22",
            "::1",
            "::*",
            "obs1,",
            ",obs1",
            "a.b.or",
            "**b**",
        ] {
            for hashed in [false, true] {
                std::fs::write(&file, format!("{patterns} {public}")).unwrap();
                // Only plain names can be hashed.
                if hashed && (patterns.contains(['*', '?', '!', ',']) || !keygen(&["-H"])) {
                    continue;
                }
                for name in names {
                    let theirs = keygen(&["-F", name]);
                    let ours = !Known::read(std::slice::from_ref(&file), name).entries.is_empty();
                    let text = std::fs::read_to_string(&file).unwrap();
                    assert_eq!(ours, theirs, "{name} in {text}");
                    found += usize::from(ours);
                }
            }
        }
        assert!(found > 40, "{found}");
    }

    #[test]
    fn a_device_stays_a_device() {
        let null = Path::new("/dev/null");
        append(null, "a line").unwrap();
        assert!(!std::fs::metadata(null).unwrap().is_file());
    }

    #[test]
    fn keys_are_judged() {
        let text = [
            "# a comment".to_owned(),
            line("obs1", ED, 1),
            line("obs1", "ssh-rsa", 2),
            format!("@revoked {}", line("*", ED, 9)),
            format!("@cert-authority {}", line("*.example.org", ED, 7)),
        ]
        .join("\n");
        let one = known(&text, "obs1");
        assert_eq!(one.judge(ED, &key(ED, 1)), Verdict::Match);
        assert!(matches!(one.judge(ED, &key(ED, 3)), Verdict::Changed(entry) if entry.line == 2));
        assert!(matches!(one.judge(ED, &key(ED, 9)), Verdict::Revoked(entry) if entry.line == 4));
        assert_eq!(
            one.judge("ecdsa-sha2-nistp256", &key("ecdsa-sha2-nistp256", 1)),
            Verdict::Unknown
        );
        assert_eq!(one.key_types(), [ED, "ssh-rsa"]);
        let other = known(&text, "x.example.org");
        assert!(matches!(other.judge(ED, &key(ED, 3)), Verdict::AuthorityOnly(_)));
        assert!(matches!(other.judge(ED, &key(ED, 9)), Verdict::Revoked(_)));
        assert_eq!(known(&text, "nobody").judge(ED, &key(ED, 3)), Verdict::Unknown);
    }

    #[test]
    fn a_key_that_is_both_known_and_revoked_is_revoked() {
        let text = format!("{}\n@revoked {}", line("a", ED, 1), line("a", ED, 1));
        assert!(matches!(known(&text, "a").judge(ED, &key(ED, 1)), Verdict::Revoked(_)));
    }

    #[test]
    fn bad_lines_are_warnings_and_the_others_count() {
        let text = format!(
            "nonsense\n@what a b c\nobs1 ssh-rsa {}\nobs1 ssh-ed25519 !!!\n\r\n  {}\r\n",
            base64::encode(&key(ED, 1)),
            line("obs1", ED, 1)
        );
        let known = known(&text, "obs1");
        assert_eq!(known.warnings.len(), 4, "{:?}", known.warnings);
        assert!(known.warnings[0].starts_with("known_hosts:1: "));
        assert_eq!(known.judge(ED, &key(ED, 1)), Verdict::Match);
    }

    #[test]
    fn lines_are_added_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/known_hosts");
        append(&file, "one").unwrap();
        std::fs::write(&file, "one\ntwo without end").unwrap();
        append(&file, "three").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo without end\nthree\n");
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..512), name in ".*") {
            let mut known = Known::default();
            known.add(Path::new("f"), &KnownFile::parse(&bytes), &name);
            known.judge(ED, &bytes);
        }

        #[test]
        fn nearly_good_lines_do_not_panic(text in "(@revoked |@cert-authority |@)?[!*?a-c,|1=]{0,20} ssh-[a-z0-9]{0,8} [A-Za-z0-9+/=]{0,40}", name in "[a-c*?]{0,8}") {
            let mut known = Known::default();
            known.add(Path::new("f"), &KnownFile::parse(text.as_bytes()), &name);
        }
    }
}
