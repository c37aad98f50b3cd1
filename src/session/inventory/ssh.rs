//! From what is configured to what the ssh transport wants.

use super::{Reveal, sudo_of};
use crate::error::Result;
use crate::secret::Secret;
use crate::session::config::TargetConfig;
use crate::session::secrets::Reference;
use crate::transport::ssh::{AgentSocket, SshTarget};

/// Turns a configured target into one for [`Ssh`](crate::transport::ssh::Ssh): the ssh half of a
/// [`Factory`](super::Factory). `reveal` gets the names that [`TargetConfig::secrets`] lists.
///
/// # Errors
/// If a secret that it refers to cannot be had.
pub fn ssh_target(config: &TargetConfig, reveal: Reveal<'_>) -> Result<SshTarget> {
    let mut target = SshTarget::new(&config.name, &config.user, &config.address);
    target.port = config.port;
    target.identities.clone_from(&config.identities);
    target.known_hosts.clone_from(&config.known_hosts);
    target.host_key.clone_from(&config.host_key);
    target.host_key_alias.clone_from(&config.host_key_alias);
    if !config.agent {
        target.agent = AgentSocket::Off;
    }
    target.connect_timeout = config.connect_timeout;
    target.sudo = sudo_of(config, reveal)?;
    target.password = secret(config.password.as_ref(), &config.password_name(), reveal)?;
    target.passphrase = secret(config.passphrase.as_ref(), &config.passphrase_name(), reveal)?;
    target.jump =
        config.jump.iter().map(|hop| ssh_target(hop, reveal)).collect::<Result<Vec<_>>>()?;
    Ok(target)
}

fn secret(reference: Option<&Reference>, name: &str, reveal: Reveal<'_>) -> Result<Option<Secret>> {
    reference.map(|_| reveal(name)).transpose()
}
