//! From the lines of `ssh -G` to what a connection of ours does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::expand::Tokens;
use super::files::Said;
use super::{Asked, Unusable, keywords};
use crate::transport::ssh::{AgentSocket, Algorithms, Family, Method};

/// What is set for a host. What is none or empty is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The host that is connected to.
    pub host: Option<String>,
    /// The port; also said where it is the usual one.
    pub port: Option<u16>,
    /// The user to log in as; also said where it is the usual one.
    pub user: Option<String>,
    /// The hops in between, outermost first.
    pub jump: Vec<Hop>,
    /// Why there is no way to the host but through a jump that is said elsewhere: a `ProxyCommand`.
    pub no_way: Option<Unusable>,
    /// Private key files.
    pub identities: Vec<PathBuf>,
    /// Certificates.
    pub certificates: Vec<PathBuf>,
    /// Whether the agent's other keys are left alone.
    pub identities_only: bool,
    /// Where the agent is.
    pub agent: Option<AgentSocket>,
    /// Files of known hosts.
    pub known_hosts: Vec<PathBuf>,
    /// The name under which the host key is known.
    pub host_key_alias: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// How to log in, most wanted first.
    pub methods: Option<Vec<Method>>,
    /// The algorithms that may be used.
    pub algorithms: Algorithms,
    /// The family of addresses that may be used.
    pub family: Option<Family>,
    /// Whether nobody may be asked for anything.
    pub batch: bool,
    /// Whether nobody may be asked about an unknown host key.
    pub strict: bool,
    /// What to say where a host key is refused that ssh would have taken.
    pub host_key_note: Option<String>,
}

/// A host in between, as `ProxyJump` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The host.
    pub host: String,
    /// The port, if given.
    pub port: Option<u16>,
    /// The user, if given.
    pub user: Option<String>,
}

type Lines<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn lines(answer: &str) -> Lines<'_> {
    let mut lines = Lines::new();
    for line in answer.lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        lines.entry(keyword).or_default().push(value.trim());
    }
    lines
}

/// Reads what `ssh` answers, knowing what it answers where nothing is set.
pub(super) fn read(
    answer: &str,
    defaults: &str,
    asked: &Asked,
    said: &Said,
) -> Result<Settings, Unusable> {
    let (answer, defaults) = (lines(answer), lines(defaults));
    let set: Lines<'_> = answer
        .iter()
        .filter(|(keyword, values)| defaults.get(*keyword) != Some(values))
        .map(|(keyword, values)| (*keyword, values.clone()))
        .collect();
    Reading { answer: &answer, set, asked, said }.settings()
}

struct Reading<'a> {
    answer: &'a Lines<'a>,
    /// What differs from the defaults.
    set: Lines<'a>,
    asked: &'a Asked,
    said: &'a Said,
}

impl Reading<'_> {
    fn settings(&self) -> Result<Settings, Unusable> {
        self.refuse()?;
        let all = |keyword: &str| self.answer.get(keyword).and_then(|v| v.first()).copied();
        let host = all("hostname").filter(|host| !host.eq_ignore_ascii_case(&self.asked.host));
        let port: u16 = all("port").and_then(|port| port.parse().ok()).unwrap_or(22);
        let alias = self.first("hostkeyalias");
        let target = host.unwrap_or(&self.asked.host);
        let tokens = Tokens {
            written: &self.asked.host,
            host: target,
            alias: alias.unwrap_or(&self.asked.host),
            port,
            user: all("user").unwrap_or_default(),
        };
        let mut settings = Settings {
            host: host.map(str::to_owned),
            port: Some(port),
            user: all("user").map(str::to_owned),
            jump: self.jump()?,
            no_way: self.first("proxycommand").map(|_| {
                let why = "the command that it names is not run; hosts in between are reached with `ProxyJump`";
                self.refusal("proxycommand", why)
            }),
            identities: self.paths("identityfile", &tokens)?,
            certificates: self.paths("certificatefile", &tokens)?,
            identities_only: self.first("identitiesonly") == Some("yes"),
            agent: self.agent(&tokens)?,
            known_hosts: self.known_hosts(&tokens)?,
            host_key_alias: alias.map(str::to_owned),
            connect_timeout: self
                .first("connecttimeout")
                .and_then(|seconds| seconds.parse().ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            methods: self.methods()?,
            algorithms: self.algorithms(),
            family: match self.first("addressfamily") {
                Some("inet") => Some(Family::V4),
                Some("inet6") => Some(Family::V6),
                _ => None,
            },
            batch: self.first("batchmode") == Some("yes"),
            strict: matches!(self.first("stricthostkeychecking"), Some("true" | "yes")),
            host_key_note: None,
        };
        let relaxed = keywords::RELAXING.iter().find(|(keyword, values)| {
            self.first(keyword).is_some_and(|value| values.contains(&value))
        });
        settings.host_key_note = relaxed.map(|(keyword, _)| {
            format!("{} is not honoured, host keys are always checked", self.where_set(keyword))
        });
        Ok(settings)
    }

    /// Returns the first value of a setting that differs from the default.
    fn first(&self, keyword: &str) -> Option<&str> {
        self.set.get(keyword).and_then(|values| values.first()).copied().filter(|v| *v != "none")
    }

    /// Returns the setting with the place where it stands, as the begin of a sentence.
    fn where_set(&self, keyword: &str) -> String {
        match self.said.place(keyword) {
            Some(place) => format!("`{}` ({})", place.written, place.at()),
            None => format!("`{keyword}` of ssh's configuration"),
        }
    }

    fn refusal(&self, keyword: &str, why: &str) -> Unusable {
        Unusable {
            message: format!("{} cannot be honoured: {why}", self.where_set(keyword)),
            hint: format!(
                "Take it out for `{}`, say in upgrade-host.toml how the host is reached and set \
                 `ssh_config = false`, or name another file there.",
                self.asked.host
            ),
        }
    }

    fn refuse(&self) -> Result<(), Unusable> {
        for keyword in self.set.keys() {
            let known = keywords::HONOURED.contains(keyword)
                || keywords::RELAXING.iter().any(|(relaxing, _)| relaxing == keyword)
                || *keyword == "proxycommand"
                || keywords::is_ignored(keyword);
            let refused = keywords::REFUSED.iter().find(|(refused, _)| refused == keyword);
            let why = match refused {
                Some((_, why)) => why,
                None if !known => "it is not known here",
                None => continue,
            };
            if refused.is_none() || self.first(keyword).is_some_and(|value| value != "no") {
                return Err(self.refusal(keyword, why));
            }
        }
        Ok(())
    }

    fn jump(&self) -> Result<Vec<Hop>, Unusable> {
        let Some(text) = self.first("proxyjump") else { return Ok(Vec::new()) };
        text.split(',')
            .map(|hop| {
                parse_hop(hop.trim()).ok_or_else(|| {
                    self.refusal("proxyjump", &format!("`{hop}` is no host to jump through"))
                })
            })
            .collect()
    }

    fn path(&self, keyword: &str, text: &str, tokens: &Tokens<'_>) -> Result<PathBuf, Unusable> {
        let text = text.trim_matches('"');
        tokens.path(text).map_err(|why| self.refusal(keyword, &format!("`{text}` {why}")))
    }

    fn paths(&self, keyword: &str, tokens: &Tokens<'_>) -> Result<Vec<PathBuf>, Unusable> {
        let values = self.set.get(keyword).map(Vec::as_slice).unwrap_or_default();
        values
            .iter()
            .filter(|text| **text != "none")
            .map(|text| self.path(keyword, text, tokens))
            .collect()
    }

    fn agent(&self, tokens: &Tokens<'_>) -> Result<Option<AgentSocket>, Unusable> {
        const KEYWORD: &str = "identityagent";
        let Some(text) = self.set.get(KEYWORD).and_then(|values| values.first()) else {
            return Ok(None);
        };
        Ok(Some(match *text {
            "none" => AgentSocket::Off,
            "SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK" => AgentSocket::Environment,
            text => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => {
                    AgentSocket::At(self.path(KEYWORD, &format!("${{{name}}}"), tokens)?)
                }
                None => AgentSocket::At(self.path(KEYWORD, text, tokens)?),
            },
        }))
    }

    /// The user's files and then the system's, if either is set.
    fn known_hosts(&self, tokens: &Tokens<'_>) -> Result<Vec<PathBuf>, Unusable> {
        let keywords = ["userknownhostsfile", "globalknownhostsfile"];
        if !keywords.iter().any(|keyword| self.set.contains_key(keyword)) {
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        for keyword in keywords {
            let values = self.answer.get(keyword).and_then(|values| values.first());
            for text in values.copied().unwrap_or_default().split_whitespace() {
                if text != "none" {
                    files.push(self.path(keyword, text, tokens)?);
                }
            }
        }
        if files.is_empty() {
            // No file at all is not the same as the usual ones.
            files.push(PathBuf::from("/dev/null"));
        }
        Ok(files)
    }

    fn methods(&self) -> Result<Option<Vec<Method>>, Unusable> {
        let off = |keyword: &str| matches!(self.first(keyword), Some("no" | "false"));
        let allowed = |method: &Method| match method {
            Method::PublicKey => !off("pubkeyauthentication"),
            Method::Password => !off("passwordauthentication"),
            Method::KeyboardInteractive => !off("kbdinteractiveauthentication"),
        };
        let preferred = self.first("preferredauthentications");
        let methods: Vec<Method> = match preferred {
            Some(names) => names
                .split(',')
                .filter_map(|name| {
                    Method::ALL.into_iter().find(|method| method.name() == name.trim())
                })
                .filter(allowed)
                .collect(),
            None => Method::ALL.into_iter().filter(allowed).collect(),
        };
        match preferred {
            Some(names) if methods.is_empty() => {
                let why = format!("of `{names}` none is supported and allowed");
                Err(self.refusal("preferredauthentications", &why))
            }
            None if methods.is_empty() => {
                let why = "no way to log in is left that is supported";
                Err(self.refusal("pubkeyauthentication", why))
            }
            _ => Ok((methods != Method::ALL).then_some(methods)),
        }
    }

    fn algorithms(&self) -> Algorithms {
        let list = |keyword: &str| {
            self.first(keyword)
                .map(|names| names.split(',').map(str::to_owned).collect())
                .unwrap_or_default()
        };
        Algorithms {
            key_exchange: list("kexalgorithms"),
            host_key: list("hostkeyalgorithms"),
            ciphers: list("ciphers"),
            macs: list("macs"),
            user_key: list("pubkeyacceptedalgorithms"),
            rsa_bits: self.first("requiredrsasize").and_then(|bits| bits.parse().ok()),
        }
    }
}

/// Reads `[user@]host[:port]` or `ssh://…`, with IPv6 addresses in brackets.
fn parse_hop(text: &str) -> Option<Hop> {
    let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), rest),
        None => (None, text),
    };
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None if rest.matches(':').count() == 1 => {
            let (host, port) = rest.split_once(':')?;
            (host, Some(port))
        }
        None => (rest, None),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port: &u16| *port > 0)?),
        None => None,
    };
    let good = !host.is_empty()
        && !host.starts_with('-')
        && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    good.then(|| Hop { host: host.to_owned(), port, user })
}
