//! Which algorithms may be used, where ssh's configuration restricts them.

use ssh2::{MethodType, Session};

use super::SshTarget;
use crate::transport::TransportError;

/// Names of algorithms, most wanted first. An empty list leaves the choice to libssh2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// For the key exchange.
    pub key_exchange: Vec<String>,
    /// Signatures of host keys.
    pub host_key: Vec<String>,
    /// Ciphers.
    pub ciphers: Vec<String>,
    /// Message authentication.
    pub macs: Vec<String>,
    /// Signatures of the user's keys.
    pub user_key: Vec<String>,
    /// The fewest bits that an RSA host key may have.
    pub rsa_bits: Option<usize>,
}

impl Algorithms {
    /// Restricts what a session offers, all but host keys.
    ///
    /// # Errors
    /// [`TransportError::Connect`] if libssh2 has none of the algorithms that are allowed.
    pub(super) fn apply(
        &self,
        session: &Session,
        target: &SshTarget,
    ) -> Result<(), TransportError> {
        for (wanted, setting, methods) in [
            (&self.key_exchange, "KexAlgorithms", &[MethodType::Kex][..]),
            (&self.ciphers, "Ciphers", &[MethodType::CryptCs, MethodType::CryptSc]),
            (&self.macs, "MACs", &[MethodType::MacCs, MethodType::MacSc]),
        ] {
            for method in methods {
                let supported = session.supported_algs(*method).unwrap_or_default();
                let Some(usable) = usable(wanted, &supported) else { continue };
                if usable.is_empty() {
                    return Err(unusable(target, setting, &supported));
                }
                session.method_pref(*method, &usable.join(",")).map_err(|error| {
                    TransportError::Connect {
                        target: target.name.clone(),
                        why: format!("`{setting}` of ssh's configuration: {}", error.message()),
                        hint: None,
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Returns whether a key of this type may be used to log in.
    pub(super) fn takes_user_key(&self, key_type: &str) -> bool {
        if self.user_key.is_empty() {
            return true;
        }
        let signatures: &[&str] = match key_type {
            "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"],
            "ssh-rsa-cert-v01@openssh.com" => {
                &["rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com"]
            }
            other => &[other],
        };
        self.user_key.iter().any(|allowed| signatures.contains(&allowed.as_str()))
    }
}

/// Returns what is both wanted and supported, in the wanted order; none if nothing particular is wanted.
pub(super) fn usable<'a>(wanted: &'a [String], supported: &[&str]) -> Option<Vec<&'a str>> {
    if wanted.is_empty() {
        return None;
    }
    Some(wanted.iter().map(String::as_str).filter(|name| supported.contains(name)).collect())
}

/// The error for a setting that leaves nothing that libssh2 can do.
pub(super) fn unusable(target: &SshTarget, setting: &str, supported: &[&str]) -> TransportError {
    let known: Vec<&str> = supported
        .iter()
        .copied()
        .filter(|name| !name.starts_with("ext-info") && !name.starts_with("kex-strict"))
        .collect();
    TransportError::Connect {
        target: target.name.clone(),
        why: format!("`{setting}` of ssh's configuration allows nothing that is supported"),
        hint: Some(format!("Supported are {}.", known.join(", "))),
    }
}
