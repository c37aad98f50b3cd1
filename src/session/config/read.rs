//! The sections of the file and their keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::inventories;
use super::jump::{self, Hop, Raw};
use super::tree::{Entry, Node, Span, Table, Tree};
use super::walk::{Section, Walk};
use super::{Config, Defaults, Environment, Given, Interrupt, SshConfig, SudoConfig, TargetConfig};
use crate::effect::{App, ServiceCommands};
use crate::session::secrets::Reference;

pub(super) const ROOT: &[&str] = &["targets", "inventory", "services", "app", "defaults"];
pub(super) const INVENTORY: &[&str] = &["command", "timeout", "file", "params"];
pub(super) const DEFAULTS: &[&str] = &[
    "on",
    "params",
    "user",
    "identity",
    "known_hosts",
    "connect_timeout",
    "silence",
    "ssh_config",
    "reconnect",
    "interrupt",
    "operator",
    "state",
];
pub(super) const TARGET: &[&str] = &[
    "address",
    "port",
    "user",
    "identity",
    "known_hosts",
    "host_key",
    "host_key_alias",
    "jump",
    "sudo",
    "password",
    "passphrase",
    "agent",
    "connect_timeout",
    "silence",
    "ssh_config",
    "tags",
    "params",
];
/// What `[targets.local]` may say: it is this machine.
const LOCAL: &[&str] = &["sudo", "tags", "params"];
pub(super) const SERVICE: &[&str] =
    &["start", "stop", "status", "pid_file", "process", "port", "url", "manager"];

/// What `[defaults]` says about connections.
struct Connection {
    user: Option<String>,
    identities: Vec<PathBuf>,
    known_hosts: Vec<PathBuf>,
    connect_timeout: Option<Duration>,
    silence: Option<Duration>,
    ssh_config: Option<SshConfig>,
}

/// Reads the whole configuration.
pub(super) fn config(walk: &mut Walk<'_>, root: &Table, env: &Environment) -> Config {
    let mut config = Config::empty(env);
    let top = Section { table: root, path: String::new() };
    walk.check_keys(&top, ROOT);
    if let Some(entry) = root.get("defaults")
        && let Some(section) = walk.section(&entry.node, "defaults".to_owned(), DEFAULTS)
    {
        let (defaults, connection) = defaults(walk, &section);
        config.defaults = defaults;
        let template = &mut config.template;
        if connection.user.is_some() {
            template.given.insert(Given::User);
        }
        if connection.connect_timeout.is_some() {
            template.given.insert(Given::ConnectTimeout);
        }
        template.ssh_config = connection.ssh_config.unwrap_or_default();
        template.user = connection.user.unwrap_or_else(|| env.user());
        template.identities = connection.identities;
        template.known_hosts = connection.known_hosts;
        template.connect_timeout = connection.connect_timeout.unwrap_or(super::CONNECT_TIMEOUT);
        template.silence = connection.silence.unwrap_or(super::SILENCE);
    }
    config.inventories = inventories::declared(walk, root);
    if let Some(entry) = root.get("targets")
        && let Some(section) = walk.names(&entry.node, "targets".to_owned())
    {
        let raw = targets(walk, section.table, &config.template);
        // A jump may lead to a target that only an inventory lists.
        if config.inventories.is_empty() {
            config.take(jump::resolve(walk, raw, &config.template));
        }
    }
    if let Some(entry) = root.get("services")
        && let Some(section) = walk.names(&entry.node, "services".to_owned())
    {
        for (name, entry) in section.table {
            if let Some(service) = service(walk, &entry.node, section.key(name)) {
                config.services.insert(name.clone(), service);
            }
        }
    }
    config.app = root.get("app").and_then(|entry| app(walk, entry, &mut config.secrets));
    config
}

/// Reads the targets; their hops are not resolved.
pub(super) fn targets(
    walk: &mut Walk<'_>,
    table: &Table,
    template: &TargetConfig,
) -> BTreeMap<String, Raw> {
    let section = Section { table, path: "targets".to_owned() };
    let read = |(name, entry): (&String, &Entry)| {
        Some((name.clone(), target(walk, &section, name, entry, template)?))
    };
    table.iter().filter_map(read).collect()
}

fn defaults(walk: &mut Walk<'_>, section: &Section<'_>) -> (Defaults, Connection) {
    let interrupt = walk.word(section, "interrupt", &["ask", "pause", "rollback"]);
    let defaults = Defaults {
        on: walk.text(section, "on"),
        reconnect: walk.duration(section, "reconnect"),
        state: walk.path(section, "state"),
        operator: walk.text(section, "operator"),
        params: params(walk, section),
        interrupt: interrupt.as_deref().map(|word| match word {
            "pause" => Interrupt::Pause,
            "rollback" => Interrupt::Rollback,
            _ => Interrupt::Ask,
        }),
    };
    let connection = Connection {
        user: walk.checked(section, "user", check_user),
        identities: walk.paths(section, "identity").unwrap_or_default(),
        known_hosts: walk.paths(section, "known_hosts").unwrap_or_default(),
        connect_timeout: connect_timeout(walk, section),
        silence: silence(walk, section),
        ssh_config: ssh_config(walk, section),
    };
    (defaults, connection)
}

fn params(walk: &mut Walk<'_>, section: &Section<'_>) -> BTreeMap<String, serde_json::Value> {
    section
        .table
        .get("params")
        .and_then(|entry| walk.names(&entry.node, section.key("params")))
        .map(|section| walk.values(&section))
        .unwrap_or_default()
}

fn silence(walk: &mut Walk<'_>, section: &Section<'_>) -> Option<Duration> {
    let silence = walk.duration(section, "silence")?;
    if silence >= super::SHORTEST_SILENCE {
        return Some(silence);
    }
    let key = section.key("silence");
    let span = section.table.get("silence")?.node.span;
    let shortest = crate::units::say_duration(super::SHORTEST_SILENCE);
    walk.wrong(
        span,
        &key,
        format!("`{key}` is less than {shortest}, which a busy server may well be silent"),
        None,
    );
    None
}

fn connect_timeout(walk: &mut Walk<'_>, section: &Section<'_>) -> Option<Duration> {
    let timeout = walk.duration(section, "connect_timeout")?;
    if !timeout.is_zero() {
        return Some(timeout);
    }
    let key = section.key("connect_timeout");
    let span = section.table.get("connect_timeout")?.node.span;
    walk.wrong(span, &key, format!("`{key}` is 0, which no connection can keep"), None);
    None
}

fn ssh_config(walk: &mut Walk<'_>, section: &Section<'_>) -> Option<SshConfig> {
    const EXPECTED: &str = "true, false or the path of a file in the form of ssh_config(5)";
    let node = &section.table.get("ssh_config")?.node;
    match &node.tree {
        Tree::Bool(true) => Some(SshConfig::Usual),
        Tree::Bool(false) => Some(SshConfig::Off),
        Tree::Text(_) => walk.path(section, "ssh_config").map(SshConfig::File),
        other => {
            let key = section.key("ssh_config");
            let message = format!("`{key}` is {}, expected {EXPECTED}", other.kind());
            walk.wrong(node.span, &key, message, None);
            None
        }
    }
}

fn target(
    walk: &mut Walk<'_>,
    targets: &Section<'_>,
    name: &str,
    entry: &Entry,
    template: &TargetConfig,
) -> Option<Raw> {
    let path = targets.key(name);
    if let Err(why) = check_name(name) {
        let hint = "Names are letters, digits, `.`, `_` and `-`, beginning with a letter or digit.";
        walk.wrong(entry.key, &path, format!("`{name}` {why}"), Some(hint.to_owned()));
    }
    let section = walk.names(&entry.node, path)?;
    let mut config = TargetConfig { jump: Vec::new(), ..template.clone() };
    name.clone_into(&mut config.name);
    name.clone_into(&mut config.address);
    config.local = name == "local";
    config.sudo = sudo(walk, &section);
    config.params = params(walk, &section);
    let tags = walk.texts(&section, "tags", "a tag or a list of tags").unwrap_or_default();
    for (tag, span) in tags {
        if check_name(&tag).is_err() {
            let key = section.key("tags");
            let hint =
                "Tags are letters, digits, `.`, `_` and `-`; `@` is written in selectors only.";
            walk.wrong(span, &key, format!("`{tag}` is no tag"), Some(hint.to_owned()));
        }
        config.tags.push(tag);
    }
    if config.local {
        refuse_connection(walk, &section);
        return Some(Raw { config, hops: Vec::new() });
    }
    walk.check_keys(&section, TARGET);
    if let Some(address) = walk.checked(&section, "address", check_address) {
        config.address = address;
    }
    if let Some(port) = walk.port(&section, "port") {
        config.port = port;
        config.given.insert(Given::Port);
    }
    if let Some(user) = walk.checked(&section, "user", check_user) {
        config.user = user;
        config.given.insert(Given::User);
    }
    if let Some(identities) = walk.paths(&section, "identity") {
        config.identities = identities;
    }
    if let Some(known_hosts) = walk.paths(&section, "known_hosts") {
        config.known_hosts = known_hosts;
    }
    config.host_key = walk.checked(&section, "host_key", check_fingerprint);
    config.host_key_alias = walk.checked(&section, "host_key_alias", check_address);
    config.password = walk.reference(&section, "password");
    config.passphrase = walk.reference(&section, "passphrase");
    if let Some(agent) = walk.bool(&section, "agent") {
        config.agent = agent;
        config.given.insert(Given::Agent);
    }
    if let Some(timeout) = connect_timeout(walk, &section) {
        config.connect_timeout = timeout;
        config.given.insert(Given::ConnectTimeout);
    }
    if let Some(choice) = ssh_config(walk, &section) {
        config.ssh_config = choice;
    }
    if let Some(silence) = silence(walk, &section) {
        config.silence = silence;
    }
    let hops = hops(walk, &section);
    Some(Raw { config, hops })
}

fn refuse_connection(walk: &mut Walk<'_>, section: &Section<'_>) {
    let (mut ours, mut others) = (false, Table::new());
    for (name, entry) in section.table {
        if TARGET.contains(&name.as_str()) && !LOCAL.contains(&name.as_str()) {
            let key = section.key(name);
            let message = format!("`local` is this machine, so it has no `{name}`");
            let hint = "Give a server that is reached over ssh another name.";
            walk.wrong(entry.key, &key, message, (!ours).then(|| hint.to_owned()));
            ours = true;
        } else if !LOCAL.contains(&name.as_str()) {
            let node = Node { tree: Tree::Bool(false), span: entry.node.span };
            others.insert(name.clone(), Entry { key: entry.key, node });
        }
    }
    walk.check_keys(&Section { table: &others, path: section.path.clone() }, LOCAL);
}

fn sudo(walk: &mut Walk<'_>, section: &Section<'_>) -> Option<SudoConfig> {
    let node = &section.table.get("sudo")?.node;
    let key = section.key("sudo");
    match &node.tree {
        Tree::Bool(true) => Some(SudoConfig::default()),
        Tree::Bool(false) => None,
        Tree::Text(_) => walk
            .checked(section, "sudo", check_user)
            .map(|user| SudoConfig { user: Some(user), password: None }),
        Tree::Table(_) => {
            let section = walk.section(node, key, &["user", "password"])?;
            Some(SudoConfig {
                user: walk.checked(&section, "user", check_user),
                password: walk.reference(&section, "password"),
            })
        }
        other => {
            let message = format!(
                "`{key}` is {}, expected true, a user or {{ user = \"…\", password = \"env:…\" }}",
                other.kind()
            );
            walk.wrong(node.span, &key, message, None);
            None
        }
    }
}

fn hops(walk: &mut Walk<'_>, section: &Section<'_>) -> Vec<(Hop, Span)> {
    let expected = "the name of a target, \"user@host:port\" or a list of them";
    let mut hops = Vec::new();
    for (text, span) in walk.texts(section, "jump", expected).unwrap_or_default() {
        match Hop::parse(&text) {
            Ok(hop) => hops.push((hop, span)),
            Err(why) => {
                let key = section.key("jump");
                walk.wrong(span, &key, format!("`{key}` {why}"), None);
            }
        }
    }
    hops
}

fn service(walk: &mut Walk<'_>, node: &Node, path: String) -> Option<ServiceCommands> {
    let section = walk.section(node, path, SERVICE)?;
    Some(ServiceCommands {
        start: walk.text(&section, "start"),
        stop: walk.text(&section, "stop"),
        status: walk.text(&section, "status"),
        pid_file: walk.checked(&section, "pid_file", |path| {
            if path.starts_with('/') {
                Ok(())
            } else {
                Err(format!("is \"{path}\", expected an absolute path on the target"))
            }
        }),
        process: walk.checked(&section, "process", |pattern| {
            regex::Regex::new(pattern).map(|_| ()).map_err(|error| {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default();
                format!("is no regular expression: {}", why.trim_start_matches("error: "))
            })
        }),
        port: walk.port(&section, "port"),
        url: walk.checked(&section, "url", crate::session::params::check_url),
        manager: walk.word(&section, "manager", &["systemd", "sysv", "commands"]),
    })
}

fn app(
    walk: &mut Walk<'_>,
    entry: &Entry,
    secrets: &mut BTreeMap<String, Reference>,
) -> Option<App> {
    let section = walk.names(&entry.node, "app".to_owned())?;
    let mut settings = serde_json::Map::new();
    for (name, entry) in section.table {
        if name != "adapter" {
            let value = walk.settings(&section.key(name), entry, name, secrets);
            settings.insert(name.clone(), value);
        }
    }
    if !section.table.contains_key("adapter") {
        let hint = "Add for example `adapter = \"ahsay_obs\"`.";
        let message = "`app` does not say which adapter it is for";
        walk.wrong(entry.key, "app", message, Some(hint.to_owned()));
    }
    let adapter = walk.checked(&section, "adapter", |name| {
        if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            Ok(())
        } else {
            Err(format!("is \"{name}\", expected a name such as \"ahsay_obs\""))
        }
    })?;
    Some(App { adapter, settings: settings.into() })
}

/// What targets and tags may be called, so that selectors can name them.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name == "all" {
        return Err("stands for every target and cannot name one".to_owned());
    }
    let first = name.chars().next().is_some_and(char::is_alphanumeric);
    let rest = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if first && rest { Ok(()) } else { Err("is no name for a target".to_owned()) }
}

/// Checks a host name or address.
pub(super) fn check_address(address: &str) -> Result<(), String> {
    if address.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    if address.contains('@') {
        return Err(format!("is \"{address}\"; the user belongs into `user`"));
    }
    if address.starts_with('[') {
        return Err(format!("is \"{address}\"; write an IPv6 address without brackets"));
    }
    // A zone (`fe80::1%eth0`) does not parse as an address, but is one.
    if address.contains(':') && !address.contains("::") {
        return Err(format!("is \"{address}\"; the port belongs into `port`"));
    }
    let bad = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '%'));
    if address.starts_with('-') || address.contains(bad) {
        return Err(format!("is \"{address}\", expected a host name or an IP address"));
    }
    Ok(())
}

/// Checks the name of a user.
pub(super) fn check_user(user: &str) -> Result<(), String> {
    if user.starts_with('-') || user.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("is \"{user}\", expected the name of a user"));
    }
    Ok(())
}

fn check_fingerprint(text: &str) -> Result<(), String> {
    let good = text.strip_prefix("SHA256:").is_some_and(|digest| {
        let digest = digest.trim_end_matches('=');
        digest.len() == 43
            && digest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'))
    });
    if good {
        return Ok(());
    }
    Err("is no fingerprint; expected what `ssh-keygen -lf` prints, `SHA256:` and 43 characters"
        .to_owned())
}
