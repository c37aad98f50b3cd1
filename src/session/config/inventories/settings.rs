//! From variables of Ansible to the keys of `[targets.NAME]`. What changes how a host is reached and cannot be honoured is
//! an error or leaves the host out with a warning; nothing of that kind is passed over.

use std::collections::BTreeMap;

use super::groups::{Flat, Groups};
use super::{Found, yaml};
use crate::session::config::error::ConfigError;
use crate::session::config::looks_secret;
use crate::session::config::tree::{Entry, Node, Source, Span, Table, Tree};
use crate::session::secrets::{FORMS, Reference};

/// More mistakes than anybody reads.
const MOST: usize = 100;

/// The keys that stand for one of ours; the first that a host has counts.
const PLAIN: &[(&str, &[&str])] = &[
    ("address", &["ansible_host", "ansible_ssh_host"]),
    ("port", &["ansible_port", "ansible_ssh_port"]),
    ("user", &["ansible_user", "ansible_ssh_user"]),
    ("identity", &["ansible_ssh_private_key_file", "ansible_private_key_file"]),
];
/// Keys whose values are secrets, with ours.
const SECRET: &[(&str, &str)] = &[
    ("ansible_password", "password"),
    ("ansible_ssh_pass", "password"),
    ("ansible_ssh_password", "password"),
    ("ansible_ssh_private_key_passphrase", "passphrase"),
    ("ansible_ssh_passphrase", "passphrase"),
    ("ansible_become_password", "sudo.password"),
    ("ansible_become_pass", "sudo.password"),
    ("ansible_sudo_pass", "sudo.password"),
];
/// Arguments for ssh.
const ARGUMENTS: &[&str] =
    &["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"];
/// Keys that would change how a host is reached or acted on, and do nothing here.
const UNUSED: &[&str] = &[
    "ansible_ssh_executable",
    "ansible_become_exe",
    "ansible_become_flags",
    "ansible_host_key_checking",
    "ansible_ssh_host_key_checking",
];
/// Options of ssh that do not matter here: output, sharing of connections, forwarding; host keys are always checked.
const HARMLESS: &[&str] = &[
    "batchmode",
    "checkhostip",
    "compression",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardagent",
    "forwardx11",
    "loglevel",
    "requesttty",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "tcpkeepalive",
    "updatehostkeys",
    "userknownhostsfile",
];

/// Turns the hosts of Ansible into targets. With `params`, plain variables become parameters. `given` is what the
/// configuration says of targets itself.
pub(super) fn targets(
    groups: &Groups,
    source: &Source,
    params: bool,
    given: &Table,
) -> Result<Found, Vec<ConfigError>> {
    let flat = groups.flat().map_err(|(span, why)| vec![source.wrong(span, "", why)])?;
    let mut reader = Reader { source, params, given, errors: Vec::new(), notes: BTreeMap::new() };
    let mut targets = Table::new();
    for host in flat {
        if let Some((name, entry)) = reader.host(&host) {
            // Several hosts may be this machine.
            let mut one = Table::new();
            one.insert(name, entry);
            crate::session::config::tree::merge(&mut targets, one);
        }
        if reader.errors.len() >= MOST {
            break;
        }
    }
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let warnings = reader.notes.into_values().map(Note::text).collect();
    Ok(Found { targets, warnings })
}

/// Something to be warned of, once for all hosts that have it.
struct Note {
    place: String,
    host: String,
    message: String,
    more: usize,
}

impl Note {
    fn text(self) -> String {
        let more = match self.more {
            0 => String::new(),
            1 => " (and one more host)".to_owned(),
            more => format!(" (and {more} more hosts)"),
        };
        format!("{}: {}{more}: {}", self.place, self.host, self.message)
    }
}

struct Reader<'s> {
    source: &'s Source,
    params: bool,
    given: &'s Table,
    errors: Vec<ConfigError>,
    notes: BTreeMap<String, Note>,
}

/// A host cannot be taken; that was said.
struct Left;

impl Reader<'_> {
    fn wrong(&mut self, host: &Flat<'_>, entry: &Entry, message: &str, hint: String) {
        let message = format!("{}: {message}", host.name);
        let error = self.source.wrong(entry.key, host.name, message).with_hint(Some(hint));
        self.errors.push(error);
    }

    fn note(&mut self, kind: &str, host: &Flat<'_>, span: Span, message: String) {
        if let Some(note) = self.notes.get_mut(kind) {
            note.more += 1;
            return;
        }
        let place = self.source.place(span);
        let note = Note { place, host: host.name.to_owned(), message, more: 0 };
        self.notes.insert(kind.to_owned(), note);
    }

    fn host(&mut self, host: &Flat<'_>) -> Option<(String, Entry)> {
        let Ok(here) = self.connection(host) else { return None };
        let mut table = Table::new();
        let mut put = |key: &str, tree: Tree, span: Span| {
            table.insert(key.to_owned(), Entry { key: span, node: Node { tree, span } });
        };
        if !here {
            for (key, names) in PLAIN {
                let found = names.iter().find_map(|name| Some((*name, *host.vars.get(name)?)));
                if let Some((name, entry)) = found
                    && let Some(tree) = self.plain(host, name, key, entry)
                {
                    put(key, tree, entry.key);
                }
            }
            if let Some((hops, span)) = self.jump(host) {
                put("jump", hops, span);
            }
        }
        let secrets = self.secrets(host);
        for key in ["password", "passphrase"] {
            if let Some((reference, span)) = secrets.get(key).filter(|_| !here) {
                put(key, Tree::Text(reference.clone()), *span);
            }
        }
        if let Some((tree, span)) = self.sudo(host, secrets.get("sudo.password")) {
            put("sudo", tree, span);
        }
        if !host.groups.is_empty() {
            let tag =
                |group: &&str| Node { tree: Tree::Text((*group).to_owned()), span: host.place };
            put("tags", Tree::List(host.groups.iter().map(tag).collect()), host.place);
        }
        let params = self.params(host);
        if !params.is_empty() {
            put("params", Tree::Table(params), host.place);
        }
        for name in UNUSED {
            if let Some(entry) = host.vars.get(name) {
                self.note(name, host, entry.key, format!("`{name}` does nothing here"));
            }
        }
        let name = if here { "local" } else { host.name };
        let node = Node { tree: Tree::Table(table), span: host.place };
        Some((name.to_owned(), Entry { key: host.place, node }))
    }

    /// Returns whether a host is this machine.
    fn connection(&mut self, host: &Flat<'_>) -> Result<bool, Left> {
        let Some(entry) = host.vars.get("ansible_connection") else { return Ok(false) };
        let word = text(entry).unwrap_or_default();
        match word.rsplit('.').next().unwrap_or_default() {
            "ssh" | "smart" | "paramiko" | "paramiko_ssh" | "libssh" => Ok(false),
            "local" if matches!(host.name, "localhost" | "127.0.0.1" | "::1" | "local") => Ok(true),
            "local" => {
                let message = "left out: `ansible_connection=local` is this machine, which is the target `local`";
                self.note("ansible_connection=local", host, entry.key, message.to_owned());
                Err(Left)
            }
            _ => {
                let message = format!(
                    "left out: `ansible_connection={word}` is a way that is not known here; ssh and local are"
                );
                self.note(&format!("ansible_connection={word}"), host, entry.key, message);
                Err(Left)
            }
        }
    }

    fn plain(&mut self, host: &Flat<'_>, name: &str, key: &str, entry: &Entry) -> Option<Tree> {
        if self.is_template(host, name, entry) {
            return None;
        }
        match (&entry.node.tree, key) {
            (Tree::Nothing, _) => None,
            (Tree::Text(text), "port") => Some(match text.trim().parse() {
                Ok(number) => Tree::Int(number),
                Err(_) => entry.node.tree.clone(),
            }),
            (Tree::Int(number), "user") => Some(Tree::Text(number.to_string())),
            (tree, _) => Some(tree.clone()),
        }
    }

    /// Notes an expression that only Ansible can evaluate.
    fn is_template(&mut self, host: &Flat<'_>, name: &str, entry: &Entry) -> bool {
        let Tree::Text(text) = &entry.node.tree else { return false };
        if !text.contains("{{") && !text.contains("{%") {
            return false;
        }
        let hint = "Let Ansible evaluate it, `command = [\"ansible-inventory\", \"-i\", \"FILE\", \"--list\"]`, or write the value.";
        self.wrong(
            host,
            entry,
            &format!("`{name}` is a template of Ansible, which is not evaluated here"),
            hint.to_owned(),
        );
        true
    }

    /// Returns the references of secrets by our keys. A secret itself is not taken.
    fn secrets(&mut self, host: &Flat<'_>) -> BTreeMap<&'static str, (String, Span)> {
        let mut found = BTreeMap::new();
        for (name, key) in SECRET {
            let Some(entry) = host.vars.get(name) else { continue };
            match text(entry).filter(|text| Reference::parse(text).is_ok()) {
                Some(reference) => {
                    found.entry(*key).or_insert((reference.to_owned(), entry.key));
                }
                None if self.says(host.name, key.split('.').next().unwrap_or(key)) => {}
                None => {
                    let message = format!(
                        "`{name}` is not taken, since a secret does not stand in an inventory; write {FORMS} there, or `{key}` in [targets.NAME]"
                    );
                    self.note(name, host, entry.key, message);
                }
            }
        }
        found
    }

    /// Returns whether the configuration itself says something of a target.
    fn says(&self, host: &str, key: &str) -> bool {
        let table = self.given.get(host).map(|entry| &entry.node.tree);
        matches!(table, Some(Tree::Table(table)) if table.contains_key(key))
    }

    fn sudo(&mut self, host: &Flat<'_>, password: Option<&(String, Span)>) -> Option<(Tree, Span)> {
        let entry = *host.vars.get("ansible_become")?;
        let wanted = match &entry.node.tree {
            Tree::Bool(value) => Some(*value),
            Tree::Int(number) => Some(*number != 0),
            Tree::Text(text) => match text.to_lowercase().as_str() {
                "true" | "yes" | "on" | "1" | "y" | "t" => Some(true),
                "false" | "no" | "off" | "0" | "n" | "f" => Some(false),
                _ => None,
            },
            _ => None,
        };
        match wanted {
            Some(true) => {}
            Some(false) => return None,
            None => {
                let hint = "Write true or false.".to_owned();
                self.wrong(host, entry, "`ansible_become` is neither true nor false", hint);
                return None;
            }
        }
        if let Some(method) = host.vars.get("ansible_become_method")
            && !matches!(text(method), Some("sudo" | "ansible.builtin.sudo"))
        {
            let hint = format!("Say what is meant with `sudo` in [targets.{}].", host.name);
            if !self.says(host.name, "sudo") {
                self.wrong(
                    host,
                    method,
                    "`ansible_become_method` is not sudo, the only one here",
                    hint,
                );
            }
            return None;
        }
        let mut table = Table::new();
        let mut put = |key: &str, text: &str, span: Span| {
            let node = Node { tree: Tree::Text(text.to_owned()), span };
            table.insert(key.to_owned(), Entry { key: span, node });
        };
        if let Some(user) = host.vars.get("ansible_become_user")
            && !self.is_template(host, "ansible_become_user", user)
            && let Some(user_name) = text(user)
        {
            put("user", user_name, user.key);
        }
        if let Some((reference, span)) = password {
            put("password", reference, *span);
        }
        let tree = if table.is_empty() { Tree::Bool(true) } else { Tree::Table(table) };
        Some((tree, entry.key))
    }

    /// Returns the hops that arguments for ssh name. Other arguments that change how a host is reached are errors.
    fn jump(&mut self, host: &Flat<'_>) -> Option<(Tree, Span)> {
        let mut found = None;
        for name in ARGUMENTS {
            let Some(entry) = host.vars.get(name) else { continue };
            // The way is told by the configuration itself.
            if self.says(host.name, "jump") || self.is_template(host, name, entry) {
                continue;
            }
            match hops(text(entry).unwrap_or_default()) {
                Ok(None) => {}
                Ok(Some(hops)) => {
                    let hop = |hop: &str| Node {
                        tree: Tree::Text(hop.trim().to_owned()),
                        span: entry.key,
                    };
                    found = Some((Tree::List(hops.split(',').map(hop).collect()), entry.key));
                }
                Err(what) => {
                    let hint = format!(
                        "Name the servers in between: `jump = \"user@host\"` in [targets.{}], or `-J user@host` here.",
                        host.name
                    );
                    self.wrong(
                        host,
                        entry,
                        &format!("`{name}` has {what}, which cannot be honoured"),
                        hint,
                    );
                }
            }
        }
        found
    }

    /// Returns the plain variables, if they are wanted.
    fn params(&mut self, host: &Flat<'_>) -> Table {
        let mut params = Table::new();
        if !self.params {
            return params;
        }
        for (name, entry) in &host.vars {
            if name.starts_with("ansible_") {
                continue;
            }
            let name = *name;
            let mut node = entry.node.clone();
            let mut secrets = Vec::new();
            let taken = take_out(name, &mut node.tree, &mut secrets);
            for secret in secrets {
                let message = format!(
                    "`{secret}` is not taken, since a secret does not stand in an inventory; write {FORMS} there, or in `params` of [targets.NAME]"
                );
                self.note(&secret, host, entry.key, message);
            }
            let word = text(entry).unwrap_or_default();
            if word.contains("{{") || word.contains("{%") {
                let message =
                    format!("`{name}` is not taken: templates of Ansible are not evaluated here");
                self.note(name, host, entry.key, message);
            } else if taken {
                params.insert(name.to_owned(), Entry { key: entry.key, node });
            }
        }
        params
    }
}

fn text(entry: &Entry) -> Option<&str> {
    match &entry.node.tree {
        Tree::Text(text) => Some(text),
        _ => None,
    }
}

/// Takes secrets out of a variable and names them; returns whether anything is left. A reference is no secret.
fn take_out(path: &str, tree: &mut Tree, found: &mut Vec<String>) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    let encrypted = match tree {
        Tree::Text(text) => text == yaml::VAULT,
        // As `ansible-inventory --list` prints it.
        Tree::Table(table) => table.contains_key("__ansible_vault"),
        _ => false,
    };
    let reference = matches!(tree, Tree::Text(text) if Reference::parse(text).is_ok());
    let named = looks_secret(name) || name.to_lowercase().ends_with("pass");
    if encrypted || (named && !reference && !matches!(tree, Tree::Bool(_) | Tree::Nothing)) {
        found.push(path.to_owned());
        return false;
    }
    match tree {
        Tree::Table(table) => {
            table.retain(|key, entry| {
                take_out(&format!("{path}.{key}"), &mut entry.node.tree, found)
            });
        }
        Tree::List(items) => items.retain_mut(|item| take_out(path, &mut item.tree, found)),
        _ => {}
    }
    true
}

/// Returns the hops in arguments of ssh; an error is what cannot be honoured, as a noun. Its values are not shown: they
/// may hold anything.
fn hops(arguments: &str) -> Result<Option<String>, String> {
    let words = shlex::split(arguments).ok_or("an open quote")?;
    let mut hops = None;
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (flag, rest) = match word.char_indices().nth(2) {
            Some((at, _)) if word.starts_with('-') => word.split_at(at),
            _ => (word, ""),
        };
        match flag {
            "-o" | "-J" => {
                let value = if rest.is_empty() { words.next().unwrap_or_default() } else { rest };
                if flag == "-J" {
                    hops = Some(value.to_owned());
                    continue;
                }
                let (key, value) = value
                    .split_once(|c: char| c == '=' || c.is_whitespace())
                    .unwrap_or((value, ""));
                match key.trim().to_lowercase().as_str() {
                    "proxyjump" => hops = Some(value.trim().to_owned()),
                    key if HARMLESS.contains(&key) => {}
                    _ => return Err(format!("the option `{}`", key.trim())),
                }
            }
            "-C" | "-q" | "-v" | "-A" | "-a" | "-T" | "-t" | "-x" => {}
            _ => return Err(format!("`{flag}`")),
        }
    }
    Ok(hops.filter(|hops| hops != "none"))
}
