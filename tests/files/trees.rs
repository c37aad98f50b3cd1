//! Directories by `upload` and `download`.

use super::*;
use crate::support::proxy::Fault;

/// A server whose commands find nothing but the tools of `BusyBox`; no rsync.
fn small() -> Option<(Sshd, tempfile::TempDir)> {
    let tools = tempfile::tempdir().unwrap();
    let made = Command::new("busybox").args(["--install", "-s"]).arg(tools.path()).status();
    if !made.is_ok_and(|made| made.success()) {
        let must = std::env::var_os("UPGRADE_HOST_REQUIRE_SSHD").is_some();
        assert!(!must, "busybox is required and missing");
        return None;
    }
    let _none = fs::remove_file(tools.path().join("rsync"));
    let extra = format!("SetEnv SHLVL=5 PATH={}", tools.path().display());
    Some((Sshd::start_with(&extra)?, tools))
}

#[test]
fn a_directory_goes_there_and_back_where_there_is_no_rsync() {
    let Some((sshd, _tools)) = small() else { return };
    let desk = Desk::plain(&sshd);
    hostile(&desk.site.path("here"));

    let said = desk.fails(r#"rsync("local:HERE/", "THERE/x/");"#);
    assert!(said.contains("rsync is not installed") && said.contains("`upload`"), "{said}");
    let said = desk.run(
        r#"
        let first = upload("HERE", "THERE/it's $x");
        let again = upload("HERE", "THERE/it's $x");
        let back = download("THERE/it's $x", "HERE-back");
        let same = download("THERE/it's $x", "HERE-back");
        print(`${first} ${again} ${back} ${same}`);
        "#,
    );

    assert!(said.contains("true false true false"), "{said}");
    assert_eq!(desk.tree("there/it's $x"), desk.tree("here"));
    assert_eq!(desk.tree("here-back"), desk.tree("here"));
}

#[test]
fn a_link_that_breaks_in_the_middle_shows_nothing_of_it() {
    let Some(sshd) = Sshd::start() else { return };
    for up in [true, false] {
        let proxy =
            Proxy::start(sshd.port, |number| (number == 0).then_some((5 << 20, Fault::Cut)));
        let desk = Desk::new(&sshd, proxy);
        let (from, to) = if up { ("here", "there") } else { ("there", "here") };
        fs::create_dir(desk.site.path(from).join("t")).unwrap();
        for number in 0..10 {
            let path = desk.site.path(from).join("t").join(number.to_string());
            fs::write(path, noise(1 << 20)).unwrap();
        }

        let said = desk.run(if up {
            r#"upload("HERE/t", "THERE/");"#
        } else {
            r#"download("THERE/t", "HERE/");"#
        });

        assert_eq!(desk.proxy.struck(), 1, "{up}");
        assert_eq!(desk.tree(to), desk.tree(from), "{up}: {said}");
    }
}

#[test]
fn what_a_directory_replaced_is_put_back() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    hostile(&desk.site.path("here"));
    fs::create_dir(desk.site.path("there/site")).unwrap();
    fs::write(desk.site.path("there/site/old"), "old").unwrap();
    let before = desk.tree("there");

    let said =
        desk.fails(r#"upload("HERE", "THERE/site"); upload("HERE", "THERE/new"); fail("no");"#);

    assert_eq!(desk.tree("there"), before, "{said}");
}
