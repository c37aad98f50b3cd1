//! Trees to a real host and back, as a user whose sudo takes a password.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::lab::{Host, Lab, config_toml};
use crate::support::patience::output;
use crate::support::site::Site;

/// How long a copy may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

fn site(host: &Host, sudo: &str) -> Site {
    let site = Site::new().with_usual_locks();
    let config = config_toml(&[host]);
    site.write("upgrade-host.toml", &config.replace("user = \"root\"", sudo));
    site
}

/// Names, kinds, modes and contents in a directory, as a digest for each.
fn listing(dir: &Path) -> Vec<u8> {
    let script = "cd \"$0\" && find . -printf '%p %y %m %l\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum";
    let out = Command::new("sh").args(["-c", script]).arg(dir).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    out.stdout
}

#[test]
fn a_tree_goes_to_a_host_and_back_though_the_program_is_killed_in_the_middle() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    let sudo = "user = \"operator\"\nsudo = { password = \"env:LAB_SUDO\" }";
    for sudo in [sudo, "user = \"deploy\"\nsudo = true"] {
        host.ok("rm -rf /root/tree");
        let site = site(&host, sudo);
        fs::create_dir_all(site.path("here/a dir")).unwrap();
        fs::write(site.path("here/a dir/-it's \"it\""), "x").unwrap();
        fs::write(site.path("here/big"), vec![7; 12 << 20]).unwrap();
        let here = site.path("here").display().to_string();
        let book = |rate: &str| {
            let copy = format!("#{{ bandwidth: \"{rate}\", delete: true }}");
            let book = format!(
                "//! There and back\nrsync(\"local:{here}/\", \"/root/tree/\", {copy});\n\
                 rsync(\"/root/tree/\", \"local:{here}-back/\", {copy});\n"
            );
            site.write("book.rhai", &book);
        };
        book("512KiB");
        let arguments = ["run", "book.rhai", "--on", host.name(), "--yes"];
        let mut run = site.command(&arguments).env("LAB_SUDO", "lab-sudo").spawn().unwrap();
        let part = host.root().join("root/tree");
        let since = Instant::now();
        let arrives = || {
            let entries = fs::read_dir(&part).into_iter().flatten().filter_map(Result::ok);
            entries.filter(|entry| entry.file_name().as_bytes().starts_with(b".big.")).count() > 0
        };
        while !arrives() {
            assert!(since.elapsed() < PATIENCE, "nothing arrives");
            std::thread::sleep(Duration::from_millis(20));
        }
        run.kill().unwrap();
        run.wait().unwrap();

        book("1GiB");
        let resume = ["resume", "last", "--yes", "--accept-change"];
        let ended = output(site.command(&resume).env("LAB_SUDO", "lab-sudo"));

        let said = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{said}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let (before, back) = (site.path("here"), site.path("here-back"));
        assert_eq!(listing(&back), listing(&before));
        assert_eq!(listing(&host.root().join("root/tree")), listing(&before));
        let owners =
            host.ok("find /root/tree ! -user root; ls -d /root/tree/.upgrade-host* 2>/dev/null; :");
        assert_eq!(owners, "");
        let left = host.processes();
        assert!(!left.iter().any(|line| line.contains("rsync --server")), "{left:?}");
    }
    host.ok("rm -rf /root/tree");
}
