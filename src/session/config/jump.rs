//! The hops between us and a target: names of other targets are replaced by what those say, cycles are refused.

use std::collections::BTreeMap;

use super::read::{check_address, check_user};
use super::tree::Span;
use super::walk::Walk;
use super::{Given, TargetConfig};
use crate::units;

/// More hops than any network has.
const MOST: usize = 16;

/// A target as read, its hops not yet resolved.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) config: TargetConfig,
    pub(super) hops: Vec<(Hop, Span)>,
}

/// A server in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Another target of the file.
    Target(String),
    /// A server that is not in the file.
    Address {
        /// The user, if given.
        user: Option<String>,
        /// Host name or address.
        host: String,
        /// The port, if given.
        port: Option<u16>,
    },
}

impl Hop {
    /// Reads `name`, `user@host`, `host:port`, `user@host:port` or `user@[address]:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        if let Some(user) = &user {
            if user.is_empty() {
                return Err(format!("names no user before the `@` in \"{text}\""));
            }
            check_user(user)?;
        }
        let (host, port) = split_port(rest)?;
        if host.is_empty() {
            return Err(format!("names no host in \"{text}\""));
        }
        check_address(host)?;
        if user.is_none() && port.is_none() && host.parse::<std::net::IpAddr>().is_err() {
            return Ok(Self::Target(host.to_owned()));
        }
        Ok(Self::Address { user, host: host.to_owned(), port })
    }

    /// Returns an address as a target of its own, named as it was written.
    pub(crate) fn target(&self, text: &str, template: &TargetConfig) -> TargetConfig {
        let mut config = TargetConfig { name: text.to_owned(), local: false, ..template.clone() };
        match self {
            Self::Target(host) => config.address.clone_from(host),
            Self::Address { user, host, port } => {
                config.address.clone_from(host);
                config.port = port.unwrap_or(22);
                if port.is_some() {
                    config.given.insert(Given::Port);
                }
                if let Some(user) = user {
                    config.user.clone_from(user);
                    config.given.insert(Given::User);
                }
            }
        }
        config
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => return Ok((host, None)),
            Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
            None => return Err(format!("has no closing bracket in \"{text}\"")),
        },
        // More than one colon is an IPv6 address, which has its port after brackets.
        None if text.matches(':').count() == 1 => text.split_once(':').unwrap_or((text, "")),
        None => return Ok((text, None)),
    };
    match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok((host, Some(number))),
        _ => Err(format!("has the port \"{port}\", expected 1 to 65535")),
    }
}

/// Fills in the hops of every target.
pub(super) fn resolve(
    walk: &mut Walk<'_>,
    raw: BTreeMap<String, Raw>,
    template: &TargetConfig,
) -> BTreeMap<String, TargetConfig> {
    let mut jumps = Jumps { walk, raw: &raw, template, done: BTreeMap::new(), stack: Vec::new() };
    let found: BTreeMap<String, Vec<TargetConfig>> =
        raw.keys().map(|name| (name.clone(), jumps.chain(name))).collect();
    raw.into_iter()
        .map(|(name, raw)| {
            let jump = found.get(&name).cloned().unwrap_or_default();
            (name, TargetConfig { jump, ..raw.config })
        })
        .collect()
}

struct Jumps<'a, 'w> {
    walk: &'a mut Walk<'w>,
    raw: &'a BTreeMap<String, Raw>,
    template: &'a TargetConfig,
    done: BTreeMap<String, Vec<TargetConfig>>,
    stack: Vec<String>,
}

impl Jumps<'_, '_> {
    /// Returns the hops before the target `name`, outermost first.
    fn chain(&mut self, name: &str) -> Vec<TargetConfig> {
        if let Some(known) = self.done.get(name) {
            return known.clone();
        }
        let Some(raw) = self.raw.get(name) else { return Vec::new() };
        self.stack.push(name.to_owned());
        let mut chain = Vec::new();
        for (index, (hop, span)) in raw.hops.iter().enumerate() {
            match hop {
                Hop::Address { .. } => chain.push(hop.target(&hop.to_string(), self.template)),
                Hop::Target(other) => self.through(name, other, index == 0, *span, &mut chain),
            }
        }
        if chain.len() > MOST
            && let Some((_, span)) = raw.hops.first()
        {
            let key = format!("targets.{name}.jump");
            let message = format!("`{name}` is {} hops away, at most {MOST} can be", chain.len());
            self.walk.wrong(*span, &key, message, None);
            chain.clear();
        }
        self.stack.pop();
        self.done.insert(name.to_owned(), chain.clone());
        chain
    }

    fn through(
        &mut self,
        name: &str,
        other: &str,
        first: bool,
        span: Span,
        chain: &mut Vec<TargetConfig>,
    ) {
        let key = format!("targets.{name}.jump");
        if let Some(at) = self.stack.iter().position(|known| known == other) {
            let mut cycle: Vec<&str> = self.stack[at..].iter().map(String::as_str).collect();
            cycle.push(other);
            let message = format!("the jumps go in a circle: {}", cycle.join(" → "));
            self.walk.wrong(span, &key, message, None);
            return;
        }
        if self.stack.len() > MOST {
            let message = format!("more than {MOST} targets jump through one another here");
            self.walk.wrong(span, &key, message, None);
            return;
        }
        let Some(raw) = self.raw.get(other) else {
            let names = self.raw.keys().map(String::as_str);
            let hint = match units::nearest(other, names) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!(
                    "Add [targets.{other}], or write user@host for a server that is not in the file."
                ),
            };
            self.walk.wrong(span, &key, format!("`{key}`: unknown target `{other}`"), Some(hint));
            return;
        };
        if raw.config.local {
            let message =
                format!("`{key}`: `local` is this machine, nothing is reached through it");
            self.walk.wrong(span, &key, message, None);
            return;
        }
        // As with ssh, the way to the first hop is its own business; the way to the others is this list.
        if first {
            chain.extend(self.chain(other));
        }
        // What a hop has as a target does not matter: nothing is run on it.
        chain.push(TargetConfig {
            sudo: None,
            tags: Vec::new(),
            params: BTreeMap::new(),
            ..raw.config.clone()
        });
    }
}

impl std::fmt::Display for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Target(name) => f.write_str(name),
            Self::Address { user, host, port } => {
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                match port {
                    Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
                    Some(port) => write!(f, "{host}:{port}"),
                    None => f.write_str(host),
                }
            }
        }
    }
}
