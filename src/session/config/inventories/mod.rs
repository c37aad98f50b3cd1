//! Inventories: targets that a command prints or a file of Ansible lists. They become the same tables as `[targets.NAME]`
//! and are checked by the same code; what upgrade-host.toml says of a target comes first, key by key.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Environment;
use super::error::{ConfigError, ConfigErrors};
use super::files::{Sources, read_file};
use super::tree::{self, Shown, Source, Span, Table, Tree};
use super::walk::{Section, Walk};
use crate::transport::{Cancel, Words};

#[cfg(test)]
mod ansible_tests;
mod answer;
mod groups;
mod hosts;
mod ini;
mod json;
mod python;
mod scalar;
mod settings;
#[cfg(test)]
mod tests;
mod yaml;

/// The largest inventory that is read.
const LARGEST: u64 = 64 << 20;
/// How long a command may take where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `[inventory.NAME]` says.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    name: String,
    origin: Origin,
    /// Whether plain variables of Ansible become parameters.
    params: bool,
    /// Where the origin stands.
    span: Span,
}

/// Where an inventory comes from.
#[derive(Clone, Debug)]
enum Origin {
    /// A command on this machine that prints JSON.
    Command { words: Words, dir: PathBuf, timeout: Duration },
    /// A file.
    File(PathBuf),
}

/// What inventories came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The targets, as `[targets]` would have them.
    pub(super) targets: Table,
    /// What was left out.
    pub(super) warnings: Vec<String>,
}

/// Reads what `[inventory]` says.
pub(super) fn declared(walk: &mut Walk<'_>, root: &Table) -> Vec<Declared> {
    let section =
        root.get("inventory").and_then(|entry| walk.names(&entry.node, "inventory".to_owned()));
    let Some(section) = section else { return Vec::new() };
    let mut all = Vec::new();
    for (name, entry) in section.table {
        let path = section.key(name);
        if super::read::check_name(name).is_err() {
            let hint = "Names are letters, digits, `.`, `_` and `-`.";
            let message = format!("`{name}` is no name for an inventory");
            walk.wrong(entry.key, &path, message, Some(hint.to_owned()));
        }
        let known = super::read::INVENTORY;
        if let Some(section) = walk.section(&entry.node, path, known) {
            all.extend(one(walk, name, &section, entry.key));
        }
    }
    all
}

fn one(walk: &mut Walk<'_>, name: &str, section: &Section<'_>, key: Span) -> Option<Declared> {
    let params = walk.bool(section, "params").unwrap_or(false);
    let timeout = walk.duration(section, "timeout");
    let place = |key: &str| section.table.get(key).map(|entry| (entry.key, entry.node.span));
    let path = &section.path;
    let (origin, span) = match (place("command"), place("file")) {
        (Some((_, span)), None) => {
            let words = command(walk, section, span)?;
            let dir = walk.absolute("", span);
            let timeout = timeout.unwrap_or(PATIENCE);
            (Origin::Command { words, dir, timeout }, span)
        }
        (None, Some((_, span))) => {
            if let Some((key, _)) = place("timeout") {
                let message = format!("`{path}.timeout` is for a command, and this is a file");
                walk.wrong(key, &section.key("timeout"), message, None);
            }
            (Origin::File(walk.path(section, "file")?), span)
        }
        (Some((key, _)), Some(_)) => {
            let message = format!("`{path}` has both `command` and `file`");
            let hint = "Make it two inventories.".to_owned();
            walk.wrong(key, path, message, Some(hint));
            return None;
        }
        (None, None) => {
            let message = format!("`{path}` has neither `command` nor `file`");
            let hint = "Add `command = [\"./list-hosts\"]` or `file = \"hosts.ini\"`.".to_owned();
            walk.wrong(key, path, message, Some(hint));
            return None;
        }
    };
    Some(Declared { name: name.to_owned(), origin, params, span })
}

fn command(walk: &mut Walk<'_>, section: &Section<'_>, span: Span) -> Option<Words> {
    if let Some(Tree::Text(_)) = section.table.get("command").map(|entry| &entry.node.tree) {
        return walk.text(section, "command").map(Words::Shell);
    }
    let expected = "a line for the shell, or a list of a program and its arguments";
    let words = walk.texts(section, "command", expected)?;
    let words: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
    if words.is_empty() {
        let key = section.key("command");
        walk.wrong(span, &key, format!("`{key}` names no program"), None);
        return None;
    }
    Some(Words::List(words))
}

/// Reads all inventories, in the order of their names; a later one comes first, key by key. `given` is what the
/// configuration says of targets itself. What they were read from is added to `sources`.
pub(super) fn read(
    declared: &[Declared],
    sources: &mut Sources,
    given: &Table,
    env: &Environment,
    cancel: &Cancel,
) -> Result<Found, ConfigErrors> {
    let mut found = Found::default();
    let mut errors = Vec::new();
    for inventory in declared {
        let number = sources.files.len();
        let read = fetch(inventory, sources, env, cancel).and_then(|(source, mode, form)| {
            let parsed = parse(&source, number, form, inventory.params, given);
            sources.push(source, mode);
            parsed
        });
        match read {
            Ok(one) => {
                tree::merge(&mut found.targets, one.targets);
                found.warnings.extend(one.warnings);
            }
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(ConfigErrors(errors)) }
}

/// In which form an inventory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Ini,
    Yaml,
}

fn fetch(
    inventory: &Declared,
    sources: &Sources,
    env: &Environment,
    cancel: &Cancel,
) -> Result<(Source, u32, Form), Vec<ConfigError>> {
    match &inventory.origin {
        Origin::Command { words, dir, timeout } => {
            let text = answer::of(words, dir, *timeout, cancel).map_err(|why| {
                let message = format!("the command of `inventory.{}` {why}", inventory.name);
                let key = format!("inventory.{}.command", inventory.name);
                vec![sources.files[inventory.span.source].wrong(inventory.span, &key, message)]
            })?;
            let path = PathBuf::from(format!("inventory.{}", inventory.name));
            Ok((Source { path, dir: dir.clone(), text, shown: Shown::Keys }, 0, Form::Json))
        }
        Origin::File(path) => {
            let shown = path.strip_prefix(&env.dir).unwrap_or(path);
            let form = match path.extension().and_then(OsStr::to_str) {
                Some("yml" | "yaml") => Form::Yaml,
                Some("json") => Form::Json,
                _ => Form::Ini,
            };
            let (text, mode) = match read_file(path, shown, env, true, LARGEST) {
                Ok(read) => read.unwrap_or_default(),
                Err(error) => return Err(vec![*error]),
            };
            let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
            let places = if form == Form::Json { Shown::Keys } else { Shown::Places };
            Ok((Source { path: shown.to_owned(), dir, text, shown: places }, mode, form))
        }
    }
}

fn parse(
    source: &Source,
    number: usize,
    form: Form,
    params: bool,
    given: &Table,
) -> Result<Found, Vec<ConfigError>> {
    let groups = match form {
        Form::Json => match json::parse(source, number)? {
            json::Listed::Targets(targets) => {
                return Ok(Found { targets, warnings: Vec::new() });
            }
            json::Listed::Groups(groups) => groups,
        },
        Form::Ini => ini::parse(source, number)?,
        Form::Yaml => yaml::parse(source, number)?,
    };
    let mut found = settings::targets(&groups, source, params, given)?;
    if form != Form::Json {
        found.warnings.extend(beside(source));
    }
    Ok(found)
}

/// Ansible also reads variables from directories beside the inventory. Without them hosts may be reached in another way.
fn beside(source: &Source) -> Option<String> {
    let found: Vec<&str> = ["group_vars", "host_vars"]
        .into_iter()
        .filter(|name| source.dir.join(name).is_dir())
        .collect();
    let path = source.path.display();
    (!found.is_empty()).then(|| {
        format!(
            "{path}: {} beside it is not read; `command = [\"ansible-inventory\", \"-i\", \"{path}\", \"--list\"]` has what Ansible makes of it",
            found.join(" and ")
        )
    })
}
