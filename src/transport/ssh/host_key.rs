//! Whether the server is the one we mean. Nothing turns this off.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use ssh2::{MethodType, Session};

use super::known_hosts::{self, Entry, Known, Verdict, blob_type};
use super::{Questions, SshTarget, base64};
use crate::transport::TransportError;

/// What is known of a target's host key before it is met.
pub(super) struct HostKeys {
    files: Vec<PathBuf>,
    name: String,
    known: Known,
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
        Self { files, name, known }
    }

    /// Asks for the key types that are known first, and for no certificates, which libssh2 offers but cannot check:
    /// a server with several keys must show the one that is known.
    pub(super) fn prefer_known(&self, session: &Session) {
        let Ok(mut supported) = session.supported_algs(MethodType::HostKey) else { return };
        supported.retain(|name| !name.contains("-cert-"));
        let known = self.known.key_types();
        let is_known = |name: &&str| known.contains(&key_type_of(name));
        supported.sort_by_key(|name| !is_known(name));
        // Refused only if a name were unknown to libssh2, which has just given them.
        let _kept = session.method_pref(MethodType::HostKey, &supported.join(","));
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
        let verdict = self.known.judge(key_type, key);
        if let Verdict::Revoked(entry) = verdict {
            return refuse(
                format!("HOST KEY REVOKED: {shown}, which {} revokes", place(entry)),
                "Somebody may be impersonating the host. Ask whoever revoked the key.".to_owned(),
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
                if questions.trust_host_key(&target.name, key_type, &print) {
                    return self.remember(key_type, key, target);
                }
                let mut why = format!("the host key of {} is not known: {shown}", target.name);
                let others = self.known.key_types();
                if !others.is_empty() {
                    why.push_str("; keys of other types are known: ");
                    why.push_str(&others.join(", "));
                }
                if let Some(warning) = self.known.warnings.first() {
                    why.push_str("; a line could not be read: ");
                    why.push_str(warning);
                }
                refuse(
                    why,
                    format!(
                        "Compare the fingerprint at the host's console; then {} Or pin it: `host_key = \"{print}\"`.",
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
