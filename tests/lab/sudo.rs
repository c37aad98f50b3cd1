//! Commands as another user than the one who logs in, on a real host.

use super::link::{end, site, wait};
use crate::support::lab::{Lab, config_toml};

#[test]
fn what_runs_as_root_is_ended_before_the_run_is_rolled_back() {
    let Some(lab) = Lab::shared() else { return };
    let [host] = lab.hosts();
    host.ok("rm -f /srv/began /srv/go /srv/word; rm -rf /var/tmp/upgrade-host-*");
    let site = site(
        &host,
        r#"
sh("touch /srv/began; while [ ! -e /srv/go ]; do sleep 0.1; done; echo late >/srv/word", #{
  sudo: true,
  undo: "echo undone >/srv/word",
});
"#,
    );
    site.write("upgrade-host.toml", &config_toml(&[&host]).replace("\"root\"", "\"deploy\""));
    let mut run = site.start(&["run", "book.rhai", "--on", host.name(), "--yes"]);
    wait("the command runs", || host.root().join("srv/began").exists());
    run.kill().unwrap();
    run.wait().unwrap();

    let back = end(site.start(&["rollback", "last", "--yes"]));

    assert_eq!(back.code, Some(0), "{}", back.out);
    let left = host.processes();
    assert!(!left.iter().any(|line| line.contains("srv/go")), "{left:#?}");
    assert_eq!(host.ok("touch /srv/go; cat /srv/word"), "undone");
    // Nor is anything of it left lying about, root's or the user's.
    assert_eq!(host.ok("ls -d /var/tmp/upgrade-host-* 2>/dev/null || :"), "");
}
