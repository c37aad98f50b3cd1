//! From what is configured to what the ssh transport wants. What the configuration does not set, OpenSSH's may.

use super::{Reveal, sudo_of};
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::session::config::{Given, SshConfig, TargetConfig};
use crate::session::secrets::Reference;
use crate::transport::ssh::client_config::{self, Asked, Hop, Settings, Unusable};
use crate::transport::ssh::{AgentSocket, SshTarget};

/// More hops than any network has.
const MOST: usize = 16;

/// Turns a configured target into one for [`Ssh`](crate::transport::ssh::Ssh): the ssh half of a
/// [`Factory`](super::Factory). `reveal` gets the names that [`TargetConfig::secrets`] lists. OpenSSH's configuration is
/// asked for the target and its hops, unless that is switched off.
///
/// # Errors
/// If a secret that it refers to cannot be had, or OpenSSH's configuration not be followed.
pub fn ssh_target(config: &TargetConfig, reveal: Reveal<'_>) -> Result<SshTarget> {
    let settings = lookup(config)?;
    let mut target = one(config, &settings, reveal)?;
    let way = Way { target: &config.name, reveal };
    if config.jump.is_empty() {
        target.jump = way.before(config, &settings, &mut Vec::new())?;
        return Ok(target);
    }
    for (index, hop) in config.jump.iter().enumerate() {
        let settings = lookup(hop)?;
        // As with ssh, the way to the first hop is its own business; the way to the others is this list.
        if index == 0 {
            target.jump = way.before(hop, &settings, &mut Vec::new())?;
        }
        target.jump.push(one(hop, &settings, reveal)?);
    }
    Ok(target)
}

fn lookup(config: &TargetConfig) -> Result<Settings> {
    let file = match &config.ssh_config {
        SshConfig::Off => return Ok(Settings::default()),
        SshConfig::Usual => None,
        SshConfig::File(path) => Some(path.as_path()),
    };
    let asked = Asked {
        host: config.address.clone(),
        port: config.given.contains(&Given::Port).then_some(config.port),
        user: config.given.contains(&Given::User).then(|| config.user.clone()),
    };
    Ok(client_config::lookup(file, &asked).map_err(|why| unusable(&config.name, why))?)
}

fn unusable(target: &str, why: Unusable) -> Failure {
    Failure::input(why.message).with_hint(why.hint).with_target(target)
}

/// Makes a target without its hops.
fn one(config: &TargetConfig, settings: &Settings, reveal: Reveal<'_>) -> Result<SshTarget> {
    let given = |setting: Given| config.given.contains(&setting);
    let mut target = SshTarget::new(&config.name, &config.user, &config.address);
    target.port = config.port;
    target.identities.clone_from(&config.identities);
    target.known_hosts.clone_from(&config.known_hosts);
    target.host_key.clone_from(&config.host_key);
    target.host_key_alias.clone_from(&config.host_key_alias);
    target.connect_timeout = config.connect_timeout;
    target.silence = config.silence;
    if let Some(host) = &settings.host {
        target.address.clone_from(host);
    }
    if let (Some(port), false) = (settings.port, given(Given::Port)) {
        target.port = port;
    }
    if let (Some(user), false) = (&settings.user, given(Given::User)) {
        target.user.clone_from(user);
    }
    if let (Some(timeout), false) = (settings.connect_timeout, given(Given::ConnectTimeout)) {
        target.connect_timeout = timeout;
    }
    if target.identities.is_empty() {
        target.identities.clone_from(&settings.identities);
    }
    if target.known_hosts.is_empty() {
        target.known_hosts.clone_from(&settings.known_hosts);
    }
    if target.host_key_alias.is_none() {
        target.host_key_alias.clone_from(&settings.host_key_alias);
    }
    target.agent = match &settings.agent {
        _ if !config.agent => AgentSocket::Off,
        // `agent = true` is said to have one asked.
        Some(AgentSocket::Off) if given(Given::Agent) => AgentSocket::Environment,
        Some(agent) => agent.clone(),
        None => AgentSocket::Environment,
    };
    target.identities_only = settings.identities_only;
    target.certificates.clone_from(&settings.certificates);
    if let Some(methods) = &settings.methods {
        target.methods.clone_from(methods);
    }
    target.algorithms = settings.algorithms.clone();
    target.family = settings.family;
    target.attended = !settings.batch;
    target.ask_host_key = !settings.strict;
    target.host_key_note.clone_from(&settings.host_key_note);
    target.sudo = sudo_of(config, reveal)?;
    target.password = secret(config.password.as_ref(), &config.password_name(), reveal)?;
    target.passphrase = secret(config.passphrase.as_ref(), &config.passphrase_name(), reveal)?;
    Ok(target)
}

/// The way to a target as OpenSSH's configuration describes it.
struct Way<'a> {
    target: &'a str,
    reveal: Reveal<'a>,
}

impl Way<'_> {
    /// Returns the hops before a host, outermost first. `stack` are those on whose behalf it is asked about.
    fn before(
        &self,
        config: &TargetConfig,
        settings: &Settings,
        stack: &mut Vec<String>,
    ) -> Result<Vec<SshTarget>> {
        if let Some(why) = &settings.no_way {
            return Err(unusable(self.target, why.clone()).into());
        }
        stack.push(config.address.clone());
        let mut jump = Vec::new();
        for (index, hop) in settings.jump.iter().enumerate() {
            let hop = hop_config(hop, config);
            if stack.contains(&hop.address) || stack.len() > MOST {
                stack.push(hop.address);
                let message = format!(
                    "the jumps of ssh's configuration go in a circle: {}",
                    stack.join(" → ")
                );
                let hint = "Except the hop itself from its `ProxyJump`: `Host * !HOP`.";
                return Err(Failure::input(message)
                    .with_hint(hint)
                    .with_target(self.target)
                    .into());
            }
            let settings = lookup(&hop)?;
            if index == 0 {
                jump.extend(self.before(&hop, &settings, stack)?);
            }
            jump.push(one(&hop, &settings, self.reveal)?);
        }
        stack.pop();
        Ok(jump)
    }
}

/// Describes a hop that only OpenSSH's configuration names.
fn hop_config(hop: &Hop, behind: &TargetConfig) -> TargetConfig {
    let mut name = hop.host.clone();
    if let Some(port) = hop.port {
        name =
            if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
    }
    if let Some(user) = &hop.user {
        name = format!("{user}@{name}");
    }
    let mut config = TargetConfig::new(name, hop.user.as_deref().unwrap_or(&behind.user));
    config.local = false;
    config.address.clone_from(&hop.host);
    config.ssh_config = behind.ssh_config.clone();
    config.connect_timeout = behind.connect_timeout;
    if let Some(port) = hop.port {
        config.port = port;
        config.given.insert(Given::Port);
    }
    if hop.user.is_some() {
        config.given.insert(Given::User);
    }
    config
}

fn secret(reference: Option<&Reference>, name: &str, reveal: Reveal<'_>) -> Result<Option<Secret>> {
    reference.map(|_| reveal(name)).transpose()
}
