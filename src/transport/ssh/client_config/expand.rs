//! Tokens, variables and `~` in paths, which `ssh -G` leaves as they are written.

use std::path::PathBuf;

/// What the tokens stand for.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    /// `%n`: the host as it was written.
    pub(super) written: &'a str,
    /// `%h`: the host that is connected to.
    pub(super) host: &'a str,
    /// `%k`: the name of the host key.
    pub(super) alias: &'a str,
    /// `%p`: the port.
    pub(super) port: u16,
    /// `%r`: the user there.
    pub(super) user: &'a str,
}

impl Tokens<'_> {
    /// Returns the path that `text` means.
    ///
    /// # Errors
    /// What in it is not understood, as the end of "`TEXT` …".
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, String> {
        let home = || {
            std::env::var("HOME")
                .map_err(|_| "needs a home directory, and HOME is not set".to_owned())
        };
        let (mut path, mut rest) = (String::new(), text);
        if let Some(below) = text.strip_prefix('~') {
            if !below.is_empty() && !below.starts_with('/') {
                return Err(
                    "names the home directory of another user, which is not looked up".into()
                );
            }
            path = home()?;
            rest = below;
        }
        let mut characters = rest.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '%' => match characters.next() {
                    Some('%') => path.push('%'),
                    Some('d') => path.push_str(&home()?),
                    Some('h') => path.push_str(self.host),
                    Some('i') => path.push_str(&rustix::process::getuid().as_raw().to_string()),
                    Some('k') => path.push_str(self.alias),
                    Some('l') => path.push_str(&node()),
                    Some('L') => path.push_str(node().split('.').next().unwrap_or_default()),
                    Some('n') => path.push_str(self.written),
                    Some('p') => path.push_str(&self.port.to_string()),
                    Some('r') => path.push_str(self.user),
                    Some('u') => path.push_str(&local_user()),
                    Some(other) => {
                        return Err(format!("has the token `%{other}`, which is not known"));
                    }
                    None => return Err("ends in the middle of a token".to_owned()),
                },
                '$' if characters.peek() == Some(&'{') => {
                    characters.next();
                    let name: String = characters.by_ref().take_while(|c| *c != '}').collect();
                    let value = std::env::var(&name)
                        .map_err(|_| format!("needs the variable {name}, which is not set"))?;
                    path.push_str(&value);
                }
                other => path.push(other),
            }
        }
        Ok(PathBuf::from(path))
    }
}

fn node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn local_user() -> String {
    if rustix::process::getuid().is_root() {
        return "root".to_owned();
    }
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default()
}
