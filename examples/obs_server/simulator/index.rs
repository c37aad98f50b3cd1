//! The index run: the first start of a version >= 5.5.3 walks over every file of every user.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::server::Server;
use super::users::{User, Users};
use super::{Outcome, at, home};

const FORMAT: &str = "obs-index 5.5.3";
const FIRST_VERSION: [u64; 3] = [5, 5, 3];

/// Whether a version keeps an index.
pub fn needed_by(version: &str) -> bool {
    let numbers: Vec<u64> =
        version.trim().split('.').map(|part| part.parse().unwrap_or(0)).collect();
    numbers.as_slice() >= FIRST_VERSION.as_slice()
}

fn path(user: &User) -> PathBuf {
    user.directory.join("db/index.bdb")
}

/// Whether the user has an index of the new format.
pub fn indexed(user: &User) -> bool {
    fs::read_to_string(path(user)).is_ok_and(|text| text.starts_with(FORMAT))
}

/// How many users are indexed, of how many.
pub fn count(users: &Users) -> (usize, usize) {
    (users.all.iter().filter(|user| indexed(user)).count(), users.all.len())
}

/// Number and size of all files below a directory.
fn walk(directory: &Path) -> Outcome<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in at(directory, fs::read_dir(directory))? {
        let entry = at(directory, entry)?;
        let metadata = match entry.metadata() {
            // A file that is being renamed into its place, such as a profile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => at(&entry.path(), metadata)?,
        };
        if metadata.is_dir() {
            let (more_files, more_bytes) = walk(&entry.path())?;
            files += more_files;
            bytes += more_bytes;
        } else {
            files += 1;
            bytes += metadata.len();
        }
    }
    Ok((files, bytes))
}

fn index(user: &User) -> Outcome<(u64, u64)> {
    let (files, bytes) = walk(&user.directory)?;
    let text = format!("{FORMAT}\nfiles={files}\nbytes={bytes}\n");
    home::write_atomically(&path(user), text.as_bytes())?;
    Ok((files, bytes))
}

/// Indexes every user that is not yet; ends early when the server stops.
pub fn run(server: &Server) {
    let users = server.users().all.clone();
    let total = users.len();
    let waiting: Vec<&User> = users.iter().filter(|user| !indexed(user)).collect();
    if waiting.is_empty() {
        return;
    }
    let mut done = total - waiting.len();
    let audit = |name: &str, user: Option<&User>, numbers: &[(&str, u64)]| {
        let mut details = vec![("owner", user.map_or("", User::owner).to_owned())];
        details.extend(numbers.iter().map(|&(key, number)| (key, number.to_string())));
        let details: Vec<_> = details.iter().map(|(key, value)| (*key, value.as_str())).collect();
        server.audit.record("INDEX", name, user.map_or("", User::login), &details);
    };
    let log = |level: &str, kind: &str, message: &str| {
        let silent = server.config().text("index_silent");
        if silent != "true" && silent != kind {
            server.logs.system(level, "Index", &format!("[Indexing] {message}"));
        }
    };

    audit("begin", None, &[("done", done as u64), ("total", total as u64)]);
    let already = if done == 0 { String::new() } else { format!(", {done} already finished") };
    log("INFO", "begin", &format!("started, {total} users{already}"));
    for user in waiting {
        let number = done + 1;
        while server.config().number("index_hang_at") == number as u64 {
            if server.pause(Duration::from_millis(100)) {
                return;
            }
        }
        let began = Instant::now();
        let result = if server.config().number("index_fail_at") == number as u64 {
            Err("unexpected end of file in the block list".to_owned())
        } else {
            index(user)
        };
        let (files, bytes) = match result {
            Ok(counted) => counted,
            Err(reason) => {
                let message = format!("failed for user '{}': {reason}", user.login());
                log("ERROR", "failed", &message);
                log("ERROR", "failed", &format!("stopped after {done} of {total} users"));
                audit("fail", Some(user), &[("number", number as u64), ("total", total as u64)]);
                return;
            }
        };
        let least = Duration::from_millis(server.config().number("index_ms_per_user"));
        if server.pause(least.saturating_sub(began.elapsed())) {
            audit("interrupted", Some(user), &[("number", number as u64), ("total", total as u64)]);
            return;
        }
        done = number;
        log("INFO", "users", &format!("user '{}' ({done} of {total}) finished", user.login()));
        let counts =
            [("number", done as u64), ("total", total as u64), ("files", files), ("bytes", bytes)];
        audit("user", Some(user), &counts);
    }
    log("INFO", "end", &format!("all users finished ({done} of {total})"));
    audit("end", None, &[("done", done as u64), ("total", total as u64)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(!needed_by("5.5.2.0"));
        assert!(needed_by("5.5.3.0\n"));
        assert!(needed_by("5.5.3"));
        assert!(needed_by("5.10.0.0"));
        assert!(needed_by("6.29.0.0"));
        assert!(!needed_by("5.2.5.0"));
    }

    #[test]
    fn an_interrupted_run_goes_on_with_the_rest() {
        let root = tempfile::tempdir().expect("a directory");
        let all: Vec<User> = ["a", "b"]
            .iter()
            .map(|name| User { directory: root.path().join(name), ..User::default() })
            .collect();
        for user in &all {
            fs::create_dir_all(user.directory.join("db")).expect("a directory");
            fs::write(user.directory.join("file"), "1234").expect("a file");
        }
        let users = Users { all, ..Users::default() };
        assert_eq!(count(&users), (0, 2));
        assert_eq!(index(&users.all[0]), Ok((1, 4)));
        assert_eq!(count(&users), (1, 2));
        fs::write(path(&users.all[1]), "an index of an older format").expect("a file");
        assert_eq!(count(&users), (1, 2));
        index(&users.all[1]).expect("indexes");
        assert_eq!(count(&users), (2, 2));
    }
}
