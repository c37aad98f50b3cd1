//! The files of OpenSSH's client, read only to know whether they say anything that matters, and where.

use std::path::{Path, PathBuf};

use super::{Unusable, keywords};

/// The system's file.
const SYSTEM: &str = "/etc/ssh/ssh_config";
/// How deep files may include one another, as with ssh.
const DEEPEST: usize = 16;
/// The largest file that is read.
const LARGEST: u64 = 1 << 20;

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The keyword in small letters.
    pub(super) keyword: String,
    /// The keyword as it is written.
    pub(super) written: String,
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl Place {
    pub(super) fn at(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// What the files say.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// What `ssh` is given after `-F`; none lets it find its files itself.
    pub(super) argument: Option<PathBuf>,
    places: Vec<Place>,
    files: Vec<PathBuf>,
}

impl Said {
    /// Returns the files that `ssh` begins with, the most important first.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Returns every line, in order, those of included files where they are included.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }

    /// Returns the first setting that matters.
    pub(super) fn relevant(&self) -> Option<&Place> {
        self.places.iter().find(|place| keywords::is_relevant(&place.keyword))
    }

    /// Returns where a setting may come from: the first line with it.
    pub(super) fn place(&self, keyword: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.keyword == keyword)
    }
}

/// Reads `file`, or else the user's and the system's.
///
/// # Errors
/// If a file that is named cannot be read.
pub(super) fn read(file: Option<&Path>) -> Result<Said, Unusable> {
    let mut said = Said::default();
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    if let Some(file) = file {
        said.argument = Some(file.to_owned());
        if let Err(error) = std::fs::File::open(file) {
            return Err(Unusable {
                message: format!("cannot read `{}`: {error}", file.display()),
                hint: "Correct `ssh_config`, which names this file.".to_owned(),
            });
        }
        said.begin(file, home.as_deref(), true);
        return Ok(said);
    }
    let system = Path::new(SYSTEM);
    let user = home.as_ref().map(|home| home.join(".ssh/config")).filter(|file| file.exists());
    // ssh itself looks where the password file says. Where HOME says another place, all else of ours is there as well.
    if home != home_by_password_file() {
        let file = user.clone().unwrap_or_else(|| system.to_owned());
        said.argument = Some(if file.exists() { file } else { PathBuf::from("/dev/null") });
    }
    if let Some(user) = &user {
        said.begin(user, home.as_deref(), true);
    }
    if said.argument.as_deref().is_none_or(|file| file == system) {
        said.begin(system, home.as_deref(), false);
    }
    Ok(said)
}

/// Returns this user's home directory as the password file says it, or else `HOME`: directory services are not asked.
fn home_by_password_file() -> Option<PathBuf> {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut homes = entry.filter(|fields| fields.get(2) == Some(&id.as_str()));
    match homes.next().and_then(|fields| fields.get(5).copied()) {
        Some(home) => Some(PathBuf::from(home)),
        None => std::env::var_os("HOME").map(PathBuf::from),
    }
}

impl Said {
    fn begin(&mut self, file: &Path, home: Option<&Path>, of_user: bool) {
        if file.exists() {
            self.files.push(file.to_owned());
        }
        self.add(file, home, of_user, 0);
    }

    fn add(&mut self, file: &Path, home: Option<&Path>, of_user: bool, depth: usize) {
        use std::io::Read;
        let mut bytes = Vec::new();
        // What cannot be read says nothing here; ssh itself complains of it if it must.
        let Ok(opened) = std::fs::File::open(file) else { return };
        let _what_came = opened.take(LARGEST).read_to_end(&mut bytes);
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
            let (written, rest) = line.split_at(end);
            let keyword = written.to_ascii_lowercase();
            let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
            if keyword == "include" {
                for pattern in rest.split_whitespace() {
                    self.include(pattern, home, of_user, depth, file, index + 1);
                }
                continue;
            }
            self.places.push(Place {
                keyword,
                written: written.to_owned(),
                file: file.to_owned(),
                line: index + 1,
            });
        }
    }

    fn include(
        &mut self,
        pattern: &str,
        home: Option<&Path>,
        of_user: bool,
        depth: usize,
        file: &Path,
        line: usize,
    ) {
        let expanded = match (pattern.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ if pattern.starts_with('/') => PathBuf::from(pattern),
            (None, Some(home)) if of_user => home.join(".ssh").join(pattern),
            _ => Path::new("/etc/ssh").join(pattern),
        };
        let glob = |text: &str| text.contains(['*', '?', '[']);
        let dir = expanded.parent().unwrap_or(Path::new("/"));
        let name = expanded.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What is not understood here matters, to be safe; ssh understands it.
        if depth >= DEEPEST
            || pattern.contains(['"', '\'', '$', '%', '\\'])
            || pattern.starts_with('~') && !pattern.starts_with("~/")
            || glob(&dir.to_string_lossy())
            || name.contains('[')
        {
            self.places.push(Place {
                keyword: "include with a pattern".to_owned(),
                written: "Include".to_owned(),
                file: file.to_owned(),
                line,
            });
            return;
        }
        if !glob(&name) {
            self.add(&expanded, home, of_user, depth + 1);
            return;
        }
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        let mut found: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| {
                let entry = entry.file_name();
                let entry = entry.to_string_lossy();
                (!entry.starts_with('.') || name.starts_with('.'))
                    && super::super::known_file::glob(name.as_bytes(), entry.as_bytes())
            })
            .map(|entry| entry.path())
            .collect();
        found.sort();
        for file in found {
            self.add(&file, home, of_user, depth + 1);
        }
    }
}
