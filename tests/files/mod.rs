//! Files and trees between the machine that the program runs on and real servers on it, over the one session that there
//! is. Whole hosts are in tests/lab.

mod rsync;
mod trees;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::site::Site;
use crate::support::sshd::Sshd;

/// A site whose target `box` is a server behind a proxy.
struct Desk {
    site: Site,
    proxy: Proxy,
}

impl Desk {
    fn new(sshd: &Sshd, proxy: Proxy) -> Self {
        let key = Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host.pub")).output();
        let key = String::from_utf8(key.unwrap().stdout).unwrap();
        let site = Site::new();
        let config = format!(
            "[targets.box]\naddress = \"127.0.0.1\"\nport = {}\nidentity = \"{}\"\n\
             host_key = \"{}\"\nagent = false\nsilence = \"3s\"\n",
            proxy.port,
            sshd.path("id").display(),
            key.split(' ').nth(1).unwrap()
        );
        site.write("upgrade-host.toml", &config);
        for dir in ["here", "there"] {
            fs::create_dir(site.path(dir)).unwrap();
        }
        Self { site, proxy }
    }

    fn plain(sshd: &Sshd) -> Self {
        Self::new(sshd, Proxy::start(sshd.port, |_| None))
    }

    /// The runbook, in which `HERE` and `THERE` stand for the directories of this machine and of the target.
    fn book(&self, body: &str) {
        let place = |name: &str| self.site.path(name).display().to_string();
        let body = body.replace("THERE", &place("there")).replace("HERE", &place("here"));
        self.site.write("book.rhai", &format!("//! Files there and back\n{body}\n"));
    }

    #[track_caller]
    fn run(&self, body: &str) -> String {
        self.book(body);
        let ended = self.site.program(&["run", "book.rhai", "--on", "box", "--yes"]);
        assert_eq!(ended.code, Some(0), "{}", ended.out);
        ended.out
    }

    #[track_caller]
    fn fails(&self, body: &str) -> String {
        self.book(body);
        let ended = self.site.program(&["run", "book.rhai", "--on", "box", "--yes"]);
        assert_eq!(ended.code, Some(1), "{}", ended.out);
        ended.out
    }

    fn tree(&self, name: &str) -> BTreeMap<Vec<u8>, String> {
        tree(&self.site.path(name))
    }
}

/// Bytes that no compression makes shorter.
fn noise(size: usize) -> Vec<u8> {
    let mut random = Random(42);
    (0..=size / 8).flat_map(|_| random.next().to_be_bytes()).take(size).collect()
}

/// Makes a tree with everything in it that shells, tar and rsync may stumble over.
fn hostile(dir: &Path) {
    for (name, text) in [
        ("plain", "1"),
        ("with a space", "2"),
        ("it's \"quoted\" $HOME `id`", "3"),
        ("two\nlines", "4"),
        ("-rf", "5"),
        ("--delete", "6"),
        ("star*and?[x]", "7"),
        ("back\\slash", "8"),
        ("käse ☃", "9"),
        ("sub dir/.hidden", "10"),
        ("sub dir/deep/-e", ""),
    ] {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir(dir.join("empty")).unwrap();
    symlink("/nowhere at all", dir.join("link")).unwrap();
    fs::set_permissions(dir.join("plain"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(dir.join("sub dir"), fs::Permissions::from_mode(0o711)).unwrap();
}

/// Each thing in a directory: what it is, its mode, its content.
fn tree(dir: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(dir).unwrap().as_os_str().as_bytes().to_vec();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                open.push(path);
                String::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if meta.len() < 1000 {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            } else {
                let sum = Command::new("sha256sum").arg(&path).output().unwrap().stdout;
                String::from_utf8_lossy(&sum[..64]).into_owned()
            };
            found.insert(name, format!("{:o} {content}", meta.mode()));
        }
    }
    found
}
