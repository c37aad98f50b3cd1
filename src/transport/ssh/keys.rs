//! Private keys in files. An encrypted key is decrypted once per process and kept in memory, which is
//! wiped when it ends: the derivation from the passphrase costs half a second by intent, too much for every connection.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use ssh_cipher::Cipher;
use zeroize::Zeroizing;

use super::known_hosts::blob_type;
use super::{Questions, base64};
use crate::secret::Secret;

/// How often a person is asked for a passphrase, as with ssh.
const ASKED: usize = 3;
/// What a key in OpenSSH's format begins with.
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The length of the lines of a key.
const LINE: usize = 70;
/// The largest file that is read as a key or certificate.
const LARGEST: u64 = 1 << 20;

/// A file with a private key, not opened yet.
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    text: Secret,
    encrypted: bool,
    /// Its mode, if others have rights on it.
    pub(super) exposed: Option<u32>,
    /// The public key in the form that is sent, if it can be told without the passphrase.
    pub(super) public: Option<Vec<u8>>,
}

/// A private key as libssh2 takes it.
#[derive(Clone)]
pub(super) struct Unlocked {
    pub(super) text: Secret,
    /// Only for formats that libssh2 must decrypt itself, old ones with a cheap derivation.
    pub(super) passphrase: Option<Secret>,
}

impl Unlocked {
    /// Returns the public key as a line, if it can be told without decrypting anything.
    pub(super) fn public_line(&self) -> Option<String> {
        let blob = public_of(self.text.reveal()).filter(|_| self.passphrase.is_none())?;
        Some(format!("{} {}", blob_type(&blob)?, base64::encode(&blob)))
    }
}

/// By file: what is unlocked, and the digest of the file that it came from.
type AllUnlocked = HashMap<PathBuf, ([u8; 32], Unlocked)>;

static UNLOCKED: Mutex<Option<AllUnlocked>> = Mutex::new(None);

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be used, as the end of "key FILE (…)".
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = Secret::new(read(path).map_err(|error| error.to_string())?);
        let Some(encrypted) = is_encrypted(text.reveal()) else {
            return Err("not a private key".to_owned());
        };
        let public = public_of(text.reveal()).or_else(|| public_beside(path));
        let exposed = mode_for_others(path);
        Ok(Self { path: path.to_owned(), text, encrypted, exposed, public })
    }

    /// Returns whether it opens without asking anybody.
    pub(super) fn opens(&self, given: Option<&Secret>) -> bool {
        let unlocked = || {
            let all = UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
            all.as_ref().is_some_and(|all| all.contains_key(&self.path))
        };
        !self.encrypted || given.is_some() || unlocked()
    }

    /// Opens the key. Whoever comes first holds back the others, so that a person is asked once for a key even if many
    /// targets are connected to at the same time.
    ///
    /// # Errors
    /// Why it cannot be opened, as the end of "key FILE (…)".
    pub(super) fn unlock(
        &self,
        given: Option<&Secret>,
        questions: &dyn Questions,
    ) -> Result<Unlocked, String> {
        if !self.encrypted {
            return Ok(Unlocked { text: self.text.clone(), passphrase: None });
        }
        let digest: [u8; 32] = Sha256::digest(self.text.reveal()).into();
        let mut all = UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_with(HashMap::new);
        if let Some((of, unlocked)) = all.get(&self.path)
            && *of == digest
        {
            return Ok(unlocked.clone());
        }
        let wrong = || "the passphrase is wrong".to_owned();
        if let Some(given) = given {
            let unlocked = decrypt(&self.text, given).ok_or_else(wrong)?;
            all.insert(self.path.clone(), (digest, unlocked.clone()));
            return Ok(unlocked);
        }
        for asked in 0..ASKED {
            let question = format!("Passphrase of {}", self.path.display());
            let Some(answer) = questions.secret(&question) else {
                return Err(if asked == 0 {
                    "encrypted, and nobody gave the passphrase".to_owned()
                } else {
                    wrong()
                });
            };
            if let Some(unlocked) = decrypt(&self.text, &answer) {
                all.insert(self.path.clone(), (digest, unlocked.clone()));
                return Ok(unlocked);
            }
        }
        Err(wrong())
    }

    /// Forgets what was unlocked, after libssh2 could not open it with the passphrase.
    pub(super) fn forget(&self) {
        let mut all = UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_or_insert_with(HashMap::new).remove(&self.path);
    }
}

/// Decrypts a key; none if the passphrase is wrong.
fn decrypt(text: &Secret, passphrase: &Secret) -> Option<Unlocked> {
    // What is not in OpenSSH's format is left to libssh2, with the passphrase.
    let theirs = Unlocked { text: text.clone(), passphrase: Some(passphrase.clone()) };
    let Some(locked) = openssh_body(text.reveal()).and_then(|body| Locked::parse(&body)) else {
        return Some(theirs);
    };
    let body = locked.open(passphrase)?;
    let encoded = Zeroizing::new(base64::encode(&body));
    // Room for all at once, so that no copy stays behind in memory.
    let mut plain = String::with_capacity(encoded.len() + encoded.len() / LINE + 128);
    plain.push_str("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for start in (0..encoded.len()).step_by(LINE) {
        plain.push_str(&encoded[start..encoded.len().min(start + LINE)]);
        plain.push('\n');
    }
    plain.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    Some(Unlocked { text: Secret::new(plain), passphrase: None })
}

/// An encrypted key in OpenSSH's format (`PROTOCOL.key` of its source).
struct Locked {
    cipher: Cipher,
    key_size: usize,
    iv_size: usize,
    salt: Vec<u8>,
    rounds: u32,
    public: Vec<u8>,
    private: Zeroizing<Vec<u8>>,
    tag: Option<[u8; 16]>,
}

impl Locked {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut rest = body.strip_prefix(MAGIC)?;
        let cipher = Cipher::new(std::str::from_utf8(string(&mut rest)?).ok()?).ok()?;
        let (key_size, iv_size) = cipher.key_and_iv_size()?;
        if string(&mut rest)? != b"bcrypt" {
            return None;
        }
        let mut options = string(&mut rest)?;
        let salt = string(&mut options)?.to_vec();
        let rounds = u32::from_be_bytes(options.try_into().ok()?);
        let (count, mut rest) = rest.split_at_checked(4)?;
        if count != 1u32.to_be_bytes() || rounds == 0 {
            return None;
        }
        let public = string(&mut rest)?.to_vec();
        let private = Zeroizing::new(string(&mut rest)?.to_vec());
        let tag = if cipher.has_tag() { Some(rest.get(..16)?.try_into().ok()?) } else { None };
        Some(Self { cipher, key_size, iv_size, salt, rounds, public, private, tag })
    }

    /// Returns the same file, not encrypted; none if the passphrase is wrong.
    fn open(mut self, passphrase: &Secret) -> Option<Zeroizing<Vec<u8>>> {
        let mut derived = Zeroizing::new(vec![0; self.key_size + self.iv_size]);
        bcrypt_pbkdf::bcrypt_pbkdf(passphrase.reveal(), &self.salt, self.rounds, &mut derived)
            .ok()?;
        let (key, iv) = derived.split_at(self.key_size);
        self.cipher.decrypt(key, iv, &mut self.private, self.tag).ok()?;
        // The same random number twice tells that it was the right passphrase.
        let (first, rest) = self.private.split_at_checked(4)?;
        if rest.get(..4)? != first {
            return None;
        }
        let mut body = Zeroizing::new(Vec::with_capacity(
            MAGIC.len() + self.public.len() + self.private.len() + 64,
        ));
        body.extend_from_slice(MAGIC);
        for word in ["none", "none", ""] {
            put(&mut body, word.as_bytes());
        }
        body.extend_from_slice(&1u32.to_be_bytes());
        put(&mut body, &self.public);
        put(&mut body, &self.private);
        Some(body)
    }
}

/// Returns the public key of an identity that may be a private key, or a public one whose private half an agent holds.
pub(super) fn public_key(identity: &Path) -> Option<Vec<u8>> {
    let text = read(identity).ok().map(Zeroizing::new);
    text.as_deref()
        .and_then(|text: &String| public_of(text).or_else(|| public_line(text)))
        .or_else(|| public_beside(identity))
}

/// Reads a file that is small if it is what we take it for.
pub(super) fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the mode of a file of ours that others have rights on. As with ssh, what is not ours is not ours to judge.
fn mode_for_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    let mode = metadata.mode() & 0o7777;
    (metadata.uid() == rustix::process::getuid().as_raw() && mode & 0o077 != 0).then_some(mode)
}

fn public_beside(path: &Path) -> Option<Vec<u8>> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    public_line(&read(Path::new(&beside)).ok()?)
}

/// Reads a line of a public key.
pub(super) fn public_line(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_ascii_whitespace();
    let kind = words.next()?;
    let blob = base64::decode(words.next()?)?;
    (blob_type(&blob) == Some(kind)).then_some(blob)
}

/// Returns the public key of a file in OpenSSH's format, which says it in clear.
fn public_of(text: &str) -> Option<Vec<u8>> {
    let bytes = openssh_body(text)?;
    let mut rest = bytes.strip_prefix(MAGIC)?;
    for _ in ["cipher", "derivation", "its options"] {
        string(&mut rest)?;
    }
    let (_count, mut keys) = rest.split_at_checked(4)?;
    string(&mut keys).map(<[u8]>::to_vec)
}

fn openssh_body(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| *line == "-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let body: String = lines.take_while(|line| !line.starts_with("-----")).collect();
    base64::decode(&Zeroizing::new(body)).map(Zeroizing::new)
}

/// Takes a text from bytes as the protocol has them.
pub(super) fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let (text, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(text)
}

/// Adds a text as the protocol has it.
pub(super) fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(text);
}

/// Returns whether a private key is encrypted; none if the text is no private key.
fn is_encrypted(text: &str) -> Option<bool> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN "));
    let kind = lines.next()?.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
    match kind {
        "OPENSSH PRIVATE KEY" => {
            let bytes = openssh_body(text)?;
            let mut rest = bytes.strip_prefix(MAGIC)?;
            Some(string(&mut rest)? != b"none")
        }
        "ENCRYPTED PRIVATE KEY" => Some(true),
        kind if kind.ends_with("PRIVATE KEY") => {
            Some(lines.next().is_some_and(|line| line.starts_with("Proc-Type:")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::Certificate;
    use super::*;
    use crate::transport::ssh::Unattended;

    fn keygen(arguments: &[&str], file: &Path) {
        let mut program = std::process::Command::new("ssh-keygen");
        assert!(program.arg("-q").args(arguments).arg(file).status().unwrap().success());
    }

    #[test]
    fn encrypted_keys_are_decrypted_whatever_their_kind() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, bits, cipher) in [
            ("ed25519", "256", "aes256-ctr"),
            ("ed25519", "256", "aes256-cbc"),
            ("ecdsa", "256", "aes128-ctr"),
            ("ecdsa", "384", "aes256-gcm@openssh.com"),
            ("ecdsa", "521", "aes256-ctr"),
            ("rsa", "2048", "chacha20-poly1305@openssh.com"),
        ] {
            let file = dir.path().join(format!("{kind}-{bits}-{cipher}"));
            keygen(&["-t", kind, "-b", bits, "-Z", cipher, "-N", "sesame", "-f"], &file);
            let key = KeyFile::read(&file).unwrap();
            assert!(key.encrypted);
            assert_eq!(key.public, public_beside(&file), "{kind}");
            let wrong = key.unlock(Some(&Secret::new("wrong".to_owned())), &Unattended);
            assert_eq!(wrong.err().as_deref(), Some("the passphrase is wrong"));
            assert!(key.unlock(None, &Unattended).err().unwrap().starts_with("encrypted"));

            let opened = key.unlock(Some(&Secret::new("sesame".to_owned())), &Unattended).unwrap();
            assert!(opened.passphrase.is_none(), "{kind} {bits} is left to libssh2");
            assert_eq!(is_encrypted(opened.text.reveal()), Some(false));
            assert_eq!(public_of(opened.text.reveal()), key.public);
            // OpenSSH itself takes what comes out, and finds the same key in it.
            let plain = dir.path().join("plain");
            std::fs::write(&plain, opened.text.reveal()).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&plain, mode).unwrap();
            let said = std::process::Command::new("ssh-keygen").arg("-yf").arg(&plain).output();
            let said = String::from_utf8(said.unwrap().stdout).unwrap();
            assert_eq!(public_line(&said), key.public, "{kind} {cipher}");
            // Kept: no passphrase is needed any more, and none is derived from.
            let again = key.unlock(None, &Unattended).unwrap();
            assert!(std::ptr::eq(again.text.reveal(), opened.text.reveal()));
            // Another key in the same file is another key.
            keygen(&["-p", "-P", "sesame", "-N", "other", "-f"], &file);
            assert!(KeyFile::read(&file).unwrap().unlock(None, &Unattended).is_err());
        }
    }

    #[test]
    fn keys_in_older_formats_are_left_to_libssh2() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pem");
        keygen(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "sesame", "-f"], &file);
        let key = KeyFile::read(&file).unwrap();
        assert!(key.encrypted && key.public.is_some());
        let opened = key.unlock(Some(&Secret::new("sesame".to_owned())), &Unattended).unwrap();
        assert!(opened.passphrase.is_some());
        std::fs::remove_file(dir.path().join("pem.pub")).unwrap();
        assert!(KeyFile::read(&file).unwrap().public.is_none());
    }

    #[test]
    fn a_certificate_says_which_key_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca");
        keygen(&["-t", "ed25519", "-N", "", "-f"], &ca);
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let file = dir.path().join(kind);
            keygen(&["-t", kind, "-N", "", "-f"], &file);
            let public = dir.path().join(format!("{kind}.pub"));
            keygen(&["-I", "me", "-s", ca.to_str().unwrap()], &public);
            let certificate = Certificate::beside(&file).unwrap();
            assert_eq!(certificate.key(), public_key(&file), "{kind}");
            assert_eq!(public_key(&public), public_key(&file), "{kind}");
        }
        assert!(Certificate::beside(&ca).is_none());
        assert_eq!(
            Certificate::read(&dir.path().join("ca.pub")).err().as_deref(),
            Some("not a certificate")
        );
    }

    #[test]
    fn what_is_no_key_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        for text in ["", "nonsense", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(KeyFile::read(&file).err().as_deref(), Some("not a private key"), "{text}");
        }
        assert!(KeyFile::read(&dir.path().join("none")).err().unwrap().contains("No such file"));
    }
}
