//! The files of the configuration: found, checked for who can write them, read, merged.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::error::{ConfigError, ConfigErrors};
use super::tree::{self, Shown, Source, Table, Tree};
use super::walk::Walk;
use super::{Again, Config, Environment, read};

/// The files as they are read.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) files: Vec<Source>,
    modes: Vec<u32>,
    errors: Vec<ConfigError>,
}

impl Sources {
    pub(super) fn open(&mut self, path: &Path, env: &Environment, explicit: bool) {
        let shown = path.strip_prefix(&env.dir).unwrap_or(path);
        match read_file(path, shown, env, explicit, tree::LARGEST) {
            Ok(Some((text, mode))) => {
                self.add(text, shown, env);
                if let Some(last) = self.modes.last_mut() {
                    *last = mode;
                }
            }
            Ok(None) => {}
            Err(error) => self.errors.push(*error),
        }
    }

    pub(super) fn add(&mut self, text: String, path: &Path, env: &Environment) {
        let dir = env.dir.join(path.parent().unwrap_or(Path::new("")));
        self.push(Source { path: path.to_owned(), dir, text, shown: Shown::Lines }, 0);
    }

    pub(super) fn push(&mut self, source: Source, mode: u32) {
        self.files.push(source);
        self.modes.push(mode);
    }

    /// Returns warnings of sources that say where secrets come from and can be written by their groups.
    pub(super) fn loose(&self, referring: &BTreeSet<usize>) -> Vec<String> {
        let loose = referring
            .iter()
            .filter(|number| self.modes.get(**number).is_some_and(|mode| mode & 0o020 != 0));
        loose
            .map(|number| {
                let path = self.files[*number].path.display();
                format!(
                    "`{path}` says where secrets come from, and its group can write it; close it with `chmod g-w {path}`"
                )
            })
            .collect()
    }

    pub(super) fn finish(mut self, env: &Environment) -> Result<Config, ConfigErrors> {
        let mut root = Table::new();
        for (number, source) in self.files.iter().enumerate() {
            match tree::parse(source, number) {
                Ok(table) => {
                    drop_other_app(&mut root, &table);
                    tree::merge(&mut root, table);
                }
                Err(errors) => self.errors.extend(errors),
            }
        }
        // What else is wrong cannot be told from a part of the files.
        if !self.errors.is_empty() {
            return Err(ConfigErrors(self.errors));
        }
        let mut walk = Walk::new(&self.files, env);
        let mut config = read::config(&mut walk, &root, env);
        let referring: BTreeSet<usize> = walk.referring().clone();
        let errors = walk.finish();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        config.warnings.extend(self.loose(&referring));
        if config.has_inventories() {
            let targets = match root.remove("targets").map(|entry| entry.node.tree) {
                Some(Tree::Table(table)) => table,
                _ => Table::new(),
            };
            config.again = Some(Arc::new(Again { files: self.files.clone(), targets }));
        }
        config.files = self.files.into_iter().map(|source| source.path).collect();
        Ok(config)
    }
}

/// Reads a file with its mode; none if there is none and there need not be.
pub(super) fn read_file(
    path: &Path,
    shown: &Path,
    env: &Environment,
    explicit: bool,
    largest: u64,
) -> Result<Option<(String, u32)>, Box<ConfigError>> {
    let failed = |message: String| Box::new(ConfigError::whole(shown, message));
    let cannot = |error: std::io::Error| failed(format!("cannot read this file: {error}"));
    let file = match std::fs::File::open(env.dir.join(path)) {
        Ok(file) => file,
        Err(error) if !explicit && absent(&error) => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let metadata = file.metadata().map_err(cannot)?;
    let mode = if metadata.is_file() { metadata.mode() } else { 0 };
    if mode & 0o002 != 0 {
        let hint = format!("Take the right away with `chmod o-w {}`.", shown.display());
        let error = failed("every user of this machine can write this file".to_owned());
        return Err(Box::new(error.with_hint(Some(hint))));
    }
    if !explicit && metadata.is_file() && !env.trusts(metadata.uid()) {
        let hint = format!("Name it with `--config {}` if you trust it.", shown.display());
        let message = format!(
            "this file belongs to another user (id {}), who could have any command run",
            metadata.uid()
        );
        return Err(Box::new(failed(message).with_hint(Some(hint))));
    }
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > largest {
        let largest = crate::units::say_size(largest);
        return Err(failed(format!("this file is larger than {largest}")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good].split(|byte| *byte == b'\n').count();
        failed(format!("this file is not UTF-8 text: the first bad byte is in line {line}"))
    })?;
    Ok(Some((text, mode)))
}

fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// The settings of one adapter mean nothing to another: a later file that names another begins anew.
fn drop_other_app(under: &mut Table, over: &Table) {
    let adapter = |table: &Table| match &table.get("app")?.node.tree {
        Tree::Table(app) => match &app.get("adapter")?.node.tree {
            Tree::Text(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    };
    if let (Some(below), Some(above)) = (adapter(under), adapter(over))
        && below != above
    {
        under.remove("app");
    }
}
