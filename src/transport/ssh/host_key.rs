//! Whether the server is the one we mean. Nothing turns this off.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use ssh2::{MethodType, Session};

use super::known_hosts::{self, Entry, Known, Verdict, blob_type};
use super::{Questions, SshTarget, algorithms, base64};
use crate::transport::TransportError;

/// What is known of a target's host key before it is met.
pub(super) struct HostKeys {
    files: Vec<PathBuf>,
    name: String,
    known: Known,
    /// What is known of the host on the usual port, where another is used and no alias.
    portless: Option<Known>,
}

impl HostKeys {
    /// Reads the files of known hosts.
    pub(super) fn read(target: &SshTarget) -> Self {
        let files = if target.known_hosts.is_empty() {
            known_hosts::default_files()
        } else {
            target.known_hosts.clone()
        };
        let name = known_hosts::lookup_name(
            &target.address,
            target.port,
            target.host_key_alias.as_deref(),
        );
        let known = Known::read(&files, &name);
        let elsewhere = target.port != 22 && target.host_key_alias.is_none();
        let portless = elsewhere
            .then(|| Known::read(&files, &known_hosts::lookup_name(&target.address, 22, None)));
        Self { files, name, known, portless }
    }

    /// Asks for the key types that are known first, and for no certificates, which libssh2 offers but cannot check:
    /// a server with several keys must show the one that is known.
    ///
    /// # Errors
    /// [`TransportError::Connect`] if none is supported of those that are allowed.
    pub(super) fn prefer_known(
        &self,
        session: &Session,
        target: &SshTarget,
    ) -> Result<(), TransportError> {
        let Ok(mut supported) = session.supported_algs(MethodType::HostKey) else { return Ok(()) };
        supported.retain(|name| !name.contains("-cert-"));
        let allowed = &target.algorithms.host_key;
        let mut offered =
            algorithms::usable(allowed, &supported).unwrap_or_else(|| supported.clone());
        if offered.is_empty() {
            return Err(algorithms::unusable(target, "HostKeyAlgorithms", &supported));
        }
        let mut known = self.known.key_types();
        if let (true, Some(portless)) = (known.is_empty(), &self.portless) {
            known = portless.key_types();
        }
        offered.sort_by_key(|name| !known.contains(&key_type_of(name)));
        // Refused only if a name were unknown to libssh2, which has just given them.
        let _kept = session.method_pref(MethodType::HostKey, &offered.join(","));
        Ok(())
    }

    /// Checks the key that the server has proved to hold.
    pub(super) fn check(
        &self,
        session: &Session,
        target: &SshTarget,
        questions: &dyn Questions,
    ) -> Result<(), TransportError> {
        let refuse = |why: String, hint: String| {
            Err(TransportError::HostKey { target: target.name.clone(), why, hint: Some(hint) })
        };
        let Some((key, _)) = session.host_key() else {
            return refuse(
                format!("{} has shown no host key", target.name),
                "See the log of sshd on the target.".to_owned(),
            );
        };
        let key_type = blob_type(key).unwrap_or("unknown");
        let print = fingerprint(key);
        let shown = format!("{} shows the {key_type} key {print}", target.name);
        let mut verdict = self.known.judge(key_type, key);
        // As with OpenSSH, a key that is known without a port counts where none is known with this one.
        if let (Verdict::Unknown, Some(portless)) = (&verdict, &self.portless)
            && self.known.key_types().is_empty()
            && let found @ (Verdict::Match | Verdict::Revoked(_)) = portless.judge(key_type, key)
        {
            verdict = found;
        }
        if let Verdict::Revoked(entry) = verdict {
            return refuse(
                format!("HOST KEY REVOKED: {shown}, which {} revokes", place(entry)),
                "Somebody may be impersonating the host. Ask whoever revoked the key.".to_owned(),
            );
        }
        if let (Some(fewest), Some(bits)) = (target.algorithms.rsa_bits, rsa_bits(key))
            && bits < fewest
        {
            return refuse(
                format!("{shown} of {bits} bits, and `RequiredRSASize` demands {fewest}"),
                "Give the host a larger key, or one of another type.".to_owned(),
            );
        }
        if let Some(pin) = &target.host_key {
            if normal(pin) == normal(&print) {
                return Ok(());
            }
            return refuse(
                format!("{shown}, but the configuration demands SHA256:{}", normal(pin)),
                "Somebody may be impersonating the host. If its key was really changed, compare \
                 `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` at its console and correct `host_key`."
                    .to_owned(),
            );
        }
        match verdict {
            Verdict::Match => Ok(()),
            Verdict::Revoked(_) => unreachable!("refused above"),
            Verdict::Changed(entry) => refuse(
                format!(
                    "REMOTE HOST IDENTIFICATION HAS CHANGED: {shown}, but {} knows {}",
                    place(entry),
                    fingerprint(&entry.key),
                ),
                format!(
                    "Somebody may be impersonating the host. If its key was really changed, remove line {} of {}.",
                    entry.line,
                    entry.file.display()
                ),
            ),
            Verdict::AuthorityOnly(entry) => refuse(
                format!(
                    "the host key of {} is vouched for by a certificate authority only ({}), \
                     and host certificates cannot be checked: {shown}",
                    target.name,
                    place(entry)
                ),
                format!(
                    "Pin the key with `host_key = \"{print}\"`, or {}",
                    self.how_to_add(key_type, key)
                ),
            ),
            Verdict::Unknown => {
                if target.ask_host_key && questions.trust_host_key(&target.name, key_type, &print) {
                    return self.remember(key_type, key, target);
                }
                let mut why = format!("the host key of {} is not known: {shown}", target.name);
                let others = self.known.key_types();
                if !others.is_empty() {
                    why.push_str("; keys of other types are known: ");
                    why.push_str(&others.join(", "));
                }
                if let Some(note) = &target.host_key_note {
                    why.push_str("; ");
                    why.push_str(note);
                }
                if let Some(warning) = self.known.warnings.first() {
                    why.push_str("; a line could not be read: ");
                    why.push_str(warning);
                }
                refuse(
                    why,
                    format!(
                        "Compare the fingerprint at the host's console; then pin it with `host_key = \"{print}\"`, or {}",
                        self.how_to_add(key_type, key)
                    ),
                )
            }
        }
    }

    fn line(&self, key_type: &str, key: &[u8]) -> String {
        format!("{} {key_type} {}", self.name, base64::encode(key))
    }

    fn how_to_add(&self, key_type: &str, key: &[u8]) -> String {
        let file = self.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        format!("add this line to {file}: {}", self.line(key_type, key))
    }

    fn remember(
        &self,
        key_type: &str,
        key: &[u8],
        target: &SshTarget,
    ) -> Result<(), TransportError> {
        let Some(file) = self.files.first() else { return Ok(()) };
        known_hosts::append(file, &self.line(key_type, key)).map_err(|error| {
            TransportError::HostKey {
                target: target.name.clone(),
                why: format!("cannot add the host key to {}: {error}", file.display()),
                hint: None,
            }
        })
    }
}

fn place(entry: &Entry) -> String {
    format!("{}:{}", entry.file.display(), entry.line)
}

/// Returns the fingerprint as OpenSSH prints it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", base64::encode(&Sha256::digest(key)).trim_end_matches('='))
}

/// Returns the size of an RSA key; none for other keys.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        rest.split_at_checked(usize::try_from(length).ok()?)
    }
    let (kind, rest) = next(key)?;
    if kind != b"ssh-rsa" {
        return None;
    }
    let (_exponent, rest) = next(rest)?;
    let (modulus, _) = next(rest)?;
    let start = modulus.iter().position(|byte| *byte != 0)?;
    Some((modulus.len() - start) * 8 - usize::try_from(modulus[start].leading_zeros()).ok()?)
}

fn normal(fingerprint: &str) -> &str {
    let text = fingerprint.trim();
    text.strip_prefix("SHA256:").unwrap_or(text).trim_end_matches('=')
}

/// Returns the type of the key that a signature algorithm uses.
fn key_type_of(algorithm: &str) -> &str {
    match algorithm {
        "rsa-sha2-256" | "rsa-sha2-512" => "ssh-rsa",
        other => other,
    }
}
