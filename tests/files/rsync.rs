//! rsync through our session.

use super::*;
use crate::support::patience::end;
use crate::support::proxy::Fault;

#[test]
fn a_tree_goes_there_and_back_over_the_one_session_whatever_its_names() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    hostile(&desk.site.path("here"));

    let said = desk.run(
        r#"
        let to = "THERE/it's a \"place\" $x * [1]/deep/";
        let first = rsync("local:HERE/", to);
        let again = rsync("local:HERE/", to);
        let back = rsync([to], "local:HERE-back/new/");
        print(`${first.changed} ${first.files} ${again.changed} ${again.files} ${back.files}`);
        "#,
    );

    assert!(said.contains("true 11 false 0 11"), "{said}");
    let before = desk.tree("here");
    assert_eq!(desk.tree("there/it's a \"place\" $x * [1]/deep"), before);
    assert_eq!(desk.tree("here-back/new"), before);
    assert_eq!(desk.proxy.connections(), 1, "another login was made");
}

#[test]
fn names_that_rsync_takes_for_patterns_are_what_they_are() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    for name in ["a*b", "aXb", "q[1]", "q1", "back\\slash"] {
        let dir = desk.site.path("there").join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("is"), name).unwrap();
    }
    fs::write(desk.site.path("here/new"), "").unwrap();

    desk.run(
        r#"
        rsync(["THERE/a*b", "THERE/q[1]", "THERE/back\\slash"], "local:HERE-back/");
        rsync("local:HERE/new", "THERE/a*b/");
        rsync("local:HERE/new", "THERE/a?b/");
        "#,
    );

    let come: Vec<Vec<u8>> = desk.tree("here-back").into_keys().collect();
    let expected = ["a*b", "a*b/is", "back\\slash", "back\\slash/is", "q[1]", "q[1]/is"];
    assert_eq!(come, expected.map(|name| name.as_bytes().to_vec()));
    let there = desk.tree("there");
    assert!(there.contains_key(&b"a*b/new"[..]) && there.contains_key(&b"a?b/new"[..]));
    assert!(!there.contains_key(&b"aXb/new"[..]), "{there:?}");
}

#[test]
fn a_plan_shows_the_changes_and_makes_none() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    fs::write(desk.site.path("here/one"), "1").unwrap();
    fs::write(desk.site.path("there/gone"), "2").unwrap();
    let (here, there) = (desk.tree("here"), desk.tree("there"));
    for (book, item) in [
        (r#"rsync("local:HERE/", "THERE/", #{ delete: true });"#, "<f+++++++++ one"),
        (r#"rsync("THERE/", "local:HERE/");"#, ">f+++++++++ gone"),
    ] {
        desk.book(book);
        let ended = desk.site.program(&["plan", "book.rhai", "--on", "box"]);
        assert_eq!(ended.code, Some(0), "{}", ended.out);
        assert!(ended.out.contains(item), "{}", ended.out);
        assert_eq!(ended.out.contains("*deleting"), book.contains("delete"), "{}", ended.out);
    }
    assert_eq!((desk.tree("here"), desk.tree("there")), (here, there));
}

#[test]
fn a_server_that_allows_one_session_is_enough() {
    let Some(sshd) = Sshd::start_with("SetEnv SHLVL=5\nMaxSessions 1") else { return };
    let desk = Desk::plain(&sshd);
    hostile(&desk.site.path("here"));

    desk.run(r#"rsync("local:HERE/", "THERE/"); rsync("THERE/", "local:HERE-back/");"#);

    assert_eq!(desk.tree("here-back"), desk.tree("here"));
    assert_eq!(desk.proxy.connections(), 1);
}

#[test]
fn a_link_that_breaks_in_the_middle_is_gone_over_again() {
    let Some(sshd) = Sshd::start() else { return };
    for (fault, up) in [
        (Fault::Cut, true),
        (Fault::Cut, false),
        (Fault::Stall, true),
        (Fault::Stall, false),
        (Fault::HalfClose, true),
    ] {
        let proxy =
            Proxy::start(sshd.port, move |number| (number == 0).then_some((9 << 20, fault)));
        let desk = Desk::new(&sshd, proxy);
        let (from, to) = if up { ("here", "there") } else { ("there", "here") };
        fs::write(desk.site.path(from).join("big"), noise(20 << 20)).unwrap();

        let said = desk.run(if up {
            r#"rsync("local:HERE/", "THERE/");"#
        } else {
            r#"rsync("THERE/", "local:HERE/");"#
        });

        assert_eq!(desk.proxy.struck(), 1, "{fault:?} {up}");
        assert!(said.contains("lost the connection"), "{fault:?} {up}: {said}");
        assert_eq!(desk.tree(to), desk.tree(from), "{fault:?} {up}: {said}");
        let all = desk.proxy.bytes();
        assert!(all < 36 << 20, "{fault:?} {up}: it did not go on from its part: {all} bytes");
    }
}

/// The processes that have a text in their arguments.
fn processes(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains("rsync") && line.contains(text)).collect()
}

/// A copy of so much at so little a second that whatever happens to it happens in the middle.
const SLOW: &str = r#"rsync("local:HERE/", "THERE/", #{ bandwidth: "512KiB" });"#;

/// Begins a slow copy, and waits until something of it has arrived.
fn slow(desk: &Desk) -> std::process::Child {
    fs::write(desk.site.path("here/big"), noise(30 << 20)).unwrap();
    desk.book(SLOW);
    let run =
        desk.site.start(&["run", "book.rhai", "--on", "box", "--yes", "--on-interrupt", "pause"]);
    let there = desk.site.path("there");
    desk.site.wait("something arrives", || {
        tree(&there).values().any(|content| !content.ends_with(' ') && content.len() > 60)
    });
    run
}

#[test]
fn an_interrupt_ends_both_and_a_resume_goes_on() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    let run = slow(&desk);
    let there = desk.site.path("there").display().to_string();
    assert!(processes(&there).iter().any(|line| line.contains("--server")));

    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let code = end(run).status.code();

    assert_eq!(code, Some(130));
    desk.site.wait("rsync ends", || processes(&there).is_empty());
    assert!(!desk.site.path("there/big").exists());
    fs::write(desk.site.path("book.rhai"), desk.site.read("book.rhai").replace("512KiB", "1GiB"))
        .unwrap();
    let ended = desk.site.program(&["resume", "last", "--yes", "--accept-change"]);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(desk.tree("there"), desk.tree("here"));
}

#[test]
fn a_killed_program_is_resumed() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    let mut run = slow(&desk);
    run.kill().unwrap();
    run.wait().unwrap();
    let there = desk.site.path("there").display().to_string();

    fs::write(desk.site.path("book.rhai"), desk.site.read("book.rhai").replace("512KiB", "1GiB"))
        .unwrap();
    let ended = desk.site.program(&["resume", "last", "--yes", "--accept-change"]);

    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(desk.tree("there"), desk.tree("here"));
    assert_eq!(processes(&there), [""; 0]);
}

#[test]
fn what_cannot_be_is_said() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    for (book, expected) in [
        (
            r#"rsync("local:HERE/", "local:/x");"#,
            "both sides are on the machine that upgrade-host runs on",
        ),
        (r#"rsync("local:HERE/", "h:/x");"#, "neither side is on the target"),
        (r#"rsync(["local:HERE/", "/y"], "/x");"#, "the sources are on two machines"),
        (r#"rsync("local:relative", "/x");"#, "not absolute"),
        (r#"rsync("local:HERE/none", "THERE/");"#, "local:"),
        (r#"rsync("local:HERE/", "THERE/", #{ options: ["-essh"] });"#, "goes over the session"),
        (r#"rsync("local:HERE/", "THERE/", #{ options: ["--rsync-path=x"] });"#, "is refused"),
        (
            r#"rsync("local:HERE/", "THERE/", #{ options: ["--suffix=a b"], dry: true });"#,
            "special letter",
        ),
        (r#"rsync("THERE/none/", "local:HERE/");"#, "is not there"),
    ] {
        let said = desk.fails(book);
        assert!(said.contains(expected), "{book}: {said}");
    }
    assert!(desk.tree("there").is_empty());
}

#[test]
fn where_this_machine_is_the_target_its_paths_are_the_targets() {
    let Some(sshd) = Sshd::start() else { return };
    let desk = Desk::plain(&sshd);
    hostile(&desk.site.path("here"));
    desk.book(r#"rsync("local:HERE/", "THERE/");"#);
    let ended = desk.site.program(&["run", "book.rhai", "--yes"]);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(desk.tree("there"), desk.tree("here"));
}
