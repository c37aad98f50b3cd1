//! The surroundings of the process, taken once. Nothing else of the session reads the environment, so tests and
//! embedding programs fill in what they want.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the process runs, and as whom.
#[derive(Clone, Default)]
pub struct Environment {
    /// The environment variables that are UTF-8.
    pub vars: BTreeMap<String, String>,
    /// The working directory.
    pub dir: PathBuf,
    /// The directory of the machine-wide file.
    pub etc: PathBuf,
    /// The effective user id.
    pub uid: u32,
}

impl Environment {
    /// Takes the surroundings of this process.
    pub fn here() -> Self {
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            vars,
            dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            etc: PathBuf::from("/etc/upgrade-host"),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Returns a variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the home directory.
    pub fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }

    /// Returns the directory for configuration files of this user.
    pub fn config_home(&self) -> Option<PathBuf> {
        match self.var("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
            Some(dir) => Some(dir),
            None => Some(self.home()?.join(".config")),
        }
    }

    /// Returns the name to log in with where none is configured, as ssh does.
    pub fn user(&self) -> String {
        // Under `su` the variables may still name who called it.
        if self.uid == 0 {
            return "root".to_owned();
        }
        self.var("USER").or_else(|| self.var("LOGNAME")).unwrap_or("root").to_owned()
    }

    /// Returns whether files of the user `uid` may say what we run: our own, root's, and those of who called sudo.
    pub fn trusts(&self, uid: u32) -> bool {
        uid == self.uid
            || uid == 0
            || self.uid == 0 && self.var("SUDO_UID").and_then(|text| text.parse().ok()) == Some(uid)
    }

    /// Expands a leading `~/` and makes the path absolute, relative to `base`.
    pub fn path(&self, text: &str, base: &Path) -> PathBuf {
        match (text.strip_prefix("~/"), self.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => base.join(text),
        }
    }
}

// Variables may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("dir", &self.dir)
            .field("etc", &self.etc)
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}
