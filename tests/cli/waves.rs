//! A runbook on several targets: one first, then more. What fails is taken back alone and lets no other begin; all of it
//! goes on after a pause, an interrupt or a crash.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::cli::{Cli, Said};
use crate::support::proxy::Proxy;
use crate::support::pty::Pty;
use crate::support::sshd::Sshd;

/// Counts that it began, changes something, and fails where its target is named in the file `bad`.
const BODY: &str = r#"
let t = param("name");
sh(`echo ${t} >>@/began`, #{ undo: "true" });
write_file(`@/here-${t}`, t);
sh(`! grep -qx ${t} @/bad`, #{ undo: "true" });
"#;

/// Targets t0, t1, … on one server.
struct Fleet {
    cli: Cli,
    sshd: Sshd,
}

impl Fleet {
    /// `more` goes into RUNBOOK; `@` is the working directory.
    fn new(targets: usize, more: &str, body: &str) -> Option<Self> {
        let sshd = Sshd::start()?;
        let cli = Cli::new();
        let one = sshd.config("id", Some("host"));
        let config: Vec<String> = (0..targets)
            .map(|n| {
                let named = one.replace("targets.box", &format!("targets.t{n}"));
                format!("{named}params = {{ name = \"t{n}\" }}\ntags = [\"fleet\"]\n")
            })
            .collect();
        cli.write("upgrade-host.toml", &config.concat());
        let here = cli.path("").display().to_string();
        let text =
            format!("//! Fleet\nconst RUNBOOK = #{{ params: #{{ name: \"\" }}{more} }};\n{body}");
        cli.write("book.rhai", &text.replace('@', here.trim_end_matches('/')));
        cli.write("bad", "");
        Some(Self { cli, sshd })
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Said {
        let said = self.cli.run(arguments);
        assert_eq!(said.code, Some(code), "{said:?}");
        said
    }

    #[track_caller]
    fn book(&self, arguments: &[&str], code: i32) -> Said {
        self.run(&[&["book.rhai", "--on", "@fleet"], arguments].concat(), code)
    }

    /// How often each began, in the order of their names.
    fn began(&self) -> String {
        let mut began: Vec<String> = self.cli.read("began").lines().map(str::to_owned).collect();
        began.sort();
        began.join(" ")
    }

    fn changed(&self) -> String {
        let here = |n: &usize| self.cli.path(&format!("here-t{n}")).exists();
        let changed: Vec<String> = (0..20).filter(here).map(|n| format!("t{n}")).collect();
        changed.join(" ")
    }
}

fn waves(said: &Said) -> Vec<&str> {
    let words = |line: &&str| line.contains("wave ") && !line.contains(" is over");
    said.out.lines().filter(words).map(|line| line.split("  ").next().unwrap_or_default()).collect()
}

#[test]
fn one_goes_first_and_then_more() {
    let Some(fleet) = Fleet::new(6, "", BODY) else { return };
    let planned = fleet.run(&["plan", "book.rhai", "--on", "@fleet"], 0);
    let all = ["wave 1 of 3 · t0", "wave 2 of 3 · t1, t2", "wave 3 of 3 · t3, t4, t5"];
    assert_eq!(waves(&planned), all, "{planned:?}");

    let said = fleet.book(&[], 0);
    assert_eq!(waves(&said), all, "{said:?}");
    assert!(said.out.contains("wave 2 of 3 is over · 2 done"), "{said:?}");
    assert_eq!(fleet.changed(), "t0 t1 t2 t3 t4 t5");

    let shown = fleet.run(&["show", "last"], 0);
    assert_eq!(waves(&shown), all, "{shown:?}");
    let shown = fleet.run(&["show", "last", "--json"], 0);
    let began = r#""what":{"event":"wave_began","number":2,"of":3,"items":["t1","t2"]}"#;
    let ended = r#"{"event":"wave_ended","number":3,"of":3,"done":3,"failed":[],"waits":[]}"#;
    assert!(shown.out.contains(began) && shown.out.contains(ended), "{shown:?}");
    fleet.run(&["rollback", "last"], 0);
    assert_eq!(fleet.changed(), "");

    let said = fleet.book(&["--waves", "100%", "--json"], 0);
    assert_eq!(said.out.matches(r#""event":"wave_began""#).count(), 1, "{said:?}");
}

#[test]
fn after_a_failure_no_other_begins_and_resume_tries_again() {
    let Some(fleet) = Fleet::new(4, "", BODY) else { return };
    fleet.cli.write("bad", "t0\n");
    let said = fleet.book(&[], 3);
    assert!(said.out.contains("it is taken back alone"), "{said:?}");
    assert!(said.out.contains("tries again what failed (t0)"), "{said:?}");
    assert_eq!((fleet.began().as_str(), fleet.changed().as_str()), ("t0", ""));

    // Still bad; then it is mended.
    fleet.run(&["resume", "last"], 3);
    fleet.cli.write("bad", "");
    let said = fleet.run(&["resume", "last"], 0);
    assert_eq!(waves(&said)[0], "wave 1 of 3 · t0", "{said:?}");
    assert_eq!(fleet.began(), "t0 t0 t0 t1 t2 t3");
    assert_eq!(fleet.changed(), "t0 t1 t2 t3");
}

#[test]
fn a_bad_target_is_taken_out() {
    let Some(fleet) = Fleet::new(4, "", BODY) else { return };
    fleet.cli.write("bad", "t1\n");
    fleet.book(&["--waves", "2"], 3);
    assert_eq!(fleet.changed(), "t0");
    let said = fleet.run(&["resume", "last", "--skip", "t7"], 3);
    assert!(said.out.contains("--skip t7: it is none of those that failed or wait"), "{said:?}");

    // The same waves: two, then the rest.
    let said = fleet.run(&["resume", "last", "--skip", "t1"], 0);
    assert_eq!(waves(&said), ["wave 1 of 1 · t2, t3"], "{said:?}");
    assert!(said.out.contains("✓ done · without t1"), "{said:?}");
    assert_eq!(fleet.changed(), "t0 t2 t3");
    assert_eq!(fleet.cli.runs()[0]["status"], "done");
}

#[test]
fn only_one_goes_on_and_the_others_later() {
    let Some(fleet) = Fleet::new(4, "", BODY) else { return };
    fleet.cli.write("bad", "t0\n");
    fleet.book(&[], 3);
    fleet.cli.write("bad", "");
    fleet.run(&["resume", "last", "--only", "t0"], 3);
    assert_eq!(fleet.changed(), "t0");
    fleet.run(&["resume", "last"], 0);
    assert_eq!(fleet.began(), "t0 t0 t1 t2 t3");
}

#[test]
fn few_may_fail_and_are_decided_on_in_the_end() {
    let more = ", rolling: #{ waves: [2, \"100%\"], max_failures: 1, max: 2 }";
    let Some(fleet) = Fleet::new(5, more, BODY) else { return };
    fleet.cli.write("bad", "t1\n");
    let said = fleet.book(&[], 3);
    assert_eq!(waves(&said), ["wave 1 of 2 · t0, t1", "wave 2 of 2 · t2, t3, t4"], "{said:?}");
    assert!(said.out.contains("1 done, 1 failed (t1)"), "{said:?}");
    assert!(said.out.contains("1 of 5 failed, the others are through"), "{said:?}");
    assert_eq!(fleet.changed(), "t0 t2 t3 t4");
    // What is through can be taken back while the rest is open.
    fleet.run(&["rollback", "last"], 0);
    assert_eq!(fleet.changed(), "");
    assert_eq!(fleet.began(), "t0 t1 t2 t3 t4");

    // The command line comes before the runbook.
    let said = fleet.book(&["--max-failures", "0", "--waves", "1,40%"], 3);
    assert_eq!(waves(&said), ["wave 1 of 3 · t0", "wave 2 of 3 · t1"], "{said:?}");
}

#[test]
fn what_is_wrong_with_waves_is_told_before_anything_is_done() {
    let cli = Cli::new();
    for (arguments, words) in [
        (
            &["-e", "1", "--waves", "5,2"][..],
            "--waves: waves say how many are through after each, so they must rise",
        ),
        (&["-e", "1", "--waves", "ten"], "--waves: a wave is a number such as 1"),
        (&["-e", "1", "--pause", "soon"], "--pause: "),
        (
            &["-e", "const RUNBOOK = #{ rolling: #{ wave: [1] } };"],
            "RUNBOOK.rolling: unknown option `wave` (did you mean `waves`?)",
        ),
        (
            &["-e", "const RUNBOOK = #{ rolling: #{ max: 0 } };"],
            "RUNBOOK.rolling: option `max`: it must be at least 1",
        ),
        (&["-e", "const RUNBOOK = #{ rolling: 3 };"], "RUNBOOK.rolling must be a map of options"),
        (&["runs", "--waves", "1"], "unexpected argument '--waves'"),
        (&["resume", "last", "--waves", "1"], "unexpected argument '--waves'"),
        (&["run", "--waves", "1", "--", "true"], "cannot be used with"),
        (&["runs", "--on", "web"], "--on chooses targets, and `runs` acts on none"),
        (&["show", "last", "--on", "web"], "--on chooses targets, and `show` acts on none"),
        (&["debts", "--limit", "web"], "--limit chooses targets, and `debts` acts on none"),
        (
            &["hosts", "local", "--on", "local"],
            "the targets are given twice, as `local` and with --on",
        ),
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    assert!(cli.runs().is_empty());
}

#[test]
fn at_a_terminal_it_is_asked_how_to_go_on() {
    let Some(fleet) = Fleet::new(3, "", BODY) else { return };
    fleet.cli.write("bad", "t0\n");
    let mut pty = Pty::start(&fleet.cli.command(&["book.rhai", "--on", "@fleet"]));
    pty.see("1 failed, 2 wait. What now?");
    pty.see("leave the failed ones out and go on");
    pty.see("1-3: ");
    assert_eq!(fleet.began(), "t0");
    pty.keys("1\r");
    pty.see("1 failed, 2 wait. What now?");
    assert_eq!(fleet.began(), "t0 t0");
    pty.see("1-3: ");
    pty.keys("2\r");
    assert_eq!(pty.end(), Some(0), "{}", pty.screen());
    assert_eq!(fleet.changed(), "t1 t2");
}

/// Waits for days on those that are named in the file `slow`.
const WAITS: &str = r#"
if output(`grep -cx ${t} @/slow || true`) == "1" { wait("7d"); }
sh(`echo ${t} >>@/through; ! grep -qx ${t} @/late`, #{ undo: "true" });
"#;

/// Lets every wait be over.
fn days_pass(cli: &Cli) {
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    let sql = "UPDATE records SET sum = NULL, body = json_set(body, '$.before', '2026-01-01T00:00:00Z')
        WHERE json_extract(body, '$.kind') = 'intent' AND json_extract(body, '$.call.action') = 'wait'";
    assert!(journal.execute(sql, []).unwrap() > 0);
}

#[test]
fn a_wait_of_days_holds_the_next_wave_and_nothing_beside_it() {
    let Some(fleet) = Fleet::new(4, "", &format!("{BODY}{WAITS}")) else { return };
    fleet.cli.write("slow", "t0\n");
    fleet.cli.write("late", "");
    // Only one at once: the one that waits makes room.
    let said = fleet.book(&["--waves", "2", "--max", "1"], 3);
    assert!(
        said.out.contains("t0 continues on ") && said.out.contains("2 more begin after that"),
        "{said:?}"
    );
    assert_eq!((fleet.began().as_str(), fleet.cli.read("through").as_str()), ("t0 t1", "t1\n"));
    let run = fleet.cli.runs()[0].clone();
    assert!(run["status"] == "paused" && run["due"].is_string(), "{run}");
    assert!(!said.out.contains("is over"), "{said:?}");

    fleet.run(&["resume", "last"], 3);
    assert_eq!(fleet.began(), "t0 t1");
    days_pass(&fleet.cli);
    fleet.run(&["resume", "last"], 0);
    assert_eq!((fleet.began().as_str(), fleet.changed().as_str()), ("t0 t1 t2 t3", "t0 t1 t2 t3"));
}

#[test]
fn a_failure_beside_a_wait_of_days_is_decided_on_before_it_is_over() {
    let Some(fleet) = Fleet::new(4, "", &format!("{BODY}{WAITS}")) else { return };
    fleet.cli.write("slow", "t0\n");
    fleet.cli.write("late", "t0\n");
    fleet.cli.write("bad", "t1\n");
    let said = fleet.book(&["--waves", "2"], 3);
    assert!(said.out.contains("1 failed (t1), 1 in a wait (t0)"), "{said:?}");
    assert!(said.out.contains("tries again what failed (t1)"), "{said:?}");

    // Nobody decided: what waits is taken back with the rest.
    fleet.run(&["resume", "last", "--skip", "t1"], 3);
    assert_eq!(fleet.began(), "t0 t1 t2 t3");
    days_pass(&fleet.cli);
    // It fails after its wait, long after others went on, and is taken back alone.
    let said = fleet.run(&["resume", "last"], 3);
    assert!(said.out.contains("tries again what failed (t0)"), "{said:?}");
    assert_eq!(fleet.changed(), "t2 t3");
    fleet.run(&["rollback", "last"], 0);
    assert_eq!(fleet.changed(), "");
}

#[test]
fn what_waits_for_days_is_taken_back_with_the_run() {
    let Some(fleet) = Fleet::new(3, "", &format!("{BODY}{WAITS}")) else { return };
    fleet.cli.write("slow", "t0\n");
    fleet.cli.write("bad", "t1\n");
    fleet.book(&["--waves", "2"], 3);
    assert_eq!(fleet.changed(), "t0");
    fleet.run(&["rollback", "last"], 0);
    assert_eq!(fleet.changed(), "");
}

/// Goes on only once there is a file `go`.
const HOLDS: &str = r#"
sh("until test -e @/go; do sleep 0.05; done", #{ undo: "true", timeout: "60s" });
sh(`echo ${t} >>@/through`, #{ undo: "true" });
"#;

#[test]
fn a_crash_in_a_wave_is_taken_up_in_it() {
    let Some(fleet) = Fleet::new(5, "", &format!("{BODY}{HOLDS}")) else { return };
    let cli = &fleet.cli;
    let mut child = cli.start(&["book.rhai", "--on", "@fleet", "--waves", "3", "--max", "2"]);
    cli.wait("two began", || fleet.changed() == "t0 t1");
    child.kill().unwrap();
    child.wait().unwrap();
    cli.write("go", "");

    let said = fleet.run(&["resume", "last"], 0);

    assert_eq!(fleet.began(), "t0 t1 t2 t3 t4");
    assert_eq!(cli.read("through").lines().count(), 5, "{said:?}");
    assert_eq!(waves(&said), ["wave 1 of 2 · t0, t1, t2", "wave 2 of 2 · t3, t4"], "{said:?}");
}

#[test]
fn an_interrupt_in_a_wave_lets_no_other_begin() {
    let Some(fleet) = Fleet::new(5, "", &format!("{BODY}{HOLDS}")) else { return };
    let cli = &fleet.cli;
    let child = cli.start(&["book.rhai", "--on", "@fleet", "--waves", "3", "--max", "2"]);
    cli.wait("two began", || fleet.changed() == "t0 t1");
    interrupt(&child, Signal::TERM);
    let said = cli.end(child);
    assert_eq!(said.code, Some(130), "{said:?}");
    assert_eq!(fleet.began(), "t0 t1");
    fleet.run(&["rollback", "last"], 0);
    assert_eq!(fleet.changed(), "");
}

/// Two items, one after the other, with a long pause between; the gate holds until there is a file `go`.
const PAUSES: &str = r#"//! Pauses
rolling(["a", "b"], #{ waves: [1], pause: "1h", gate: |done| {
    sh("touch at-gate; until test -e go; do sleep 0.05; done", #{ idempotent: true, undo: "true" });
    true
} }, |t| sh(`echo ${t} >>began`, #{ undo: "true" }));
"#;

/// The end of a wait, as the journal has it.
fn wait_until(cli: &Cli) -> Option<String> {
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).ok()?;
    let sql = "SELECT json_extract(body, '$.before') FROM records
        WHERE json_extract(body, '$.kind') = 'intent' AND json_extract(body, '$.call.action') = 'wait'";
    journal.query_row(sql, [], |row| row.get(0)).ok()
}

fn interrupt(child: &std::process::Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn a_pause_counts_from_the_end_of_the_wave_whatever_comes_between() {
    let cli = Cli::new();
    cli.write("book.rhai", PAUSES);
    let mut child = cli.start(&["book.rhai"]);
    cli.wait("it is at the gate", || cli.path("at-gate").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody was there for longer than the pause.
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    let sql = "UPDATE records SET sum = NULL, body = json_set(body, '$.outcome.value.at', '2026-01-01T00:00:00Z')
        WHERE json_extract(body, '$.call.action') = 'wave_over'";
    assert_eq!(journal.execute(sql, []).unwrap(), 1);
    cli.write("go", "");

    let said = cli.run(&["resume", "last"]);

    assert_eq!((said.code, cli.read("began").as_str()), (Some(0), "a\nb\n"), "{said:?}");
    assert!(said.out.contains("wait 1h 00m after wave 1 of 2"), "{said:?}");
}

#[test]
fn a_pause_goes_on_after_a_crash_and_an_interrupt_ends_it_at_once() {
    let cli = Cli::new();
    cli.write("book.rhai", PAUSES);
    cli.write("go", "");
    let mut child = cli.start(&["book.rhai"]);
    cli.wait("it pauses", || wait_until(&cli).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let end: jiff::Timestamp = wait_until(&cli).unwrap().parse().unwrap();

    let events = std::fs::File::create(cli.path("events")).unwrap();
    let mut resume = cli.command(&["resume", "last", "--json"]);
    let child = resume.stdout(events).spawn().unwrap();
    cli.wait("it pauses again", || cli.read("events").contains("call_progress"));
    interrupt(&child, Signal::TERM);
    let said = cli.end(child);

    assert_eq!(said.code, Some(130), "{said:?}");
    let told = cli.read("events");
    let until = format!("until {}", end.strftime("%Y-%m-%d %H:%M:%S"));
    assert!(
        told.contains("wait 1h 00m after wave 1 of 2") && told.contains(&until),
        "{until}: {told}"
    );
    assert_eq!(cli.runs()[0]["status"], "paused");
    assert_eq!(cli.read("began"), "a\n");
    days_pass(&cli);
    assert_eq!(cli.run(&["resume", "last"]).code, Some(0));
    assert_eq!(cli.read("began"), "a\nb\n");
}

#[test]
fn targets_that_are_gone_in_the_end_hold_up_no_other() {
    let body = BODY.replace(
        "sh(`!",
        "if t == \"t4\" { sh(\"until test -e @/go; do sleep 0.05; done\"); }\nsh(`!",
    );
    let Some(fleet) = Fleet::new(5, "", &body) else { return };
    let cli = &fleet.cli;
    let proxy = Proxy::start(fleet.sshd.port, |_| None);
    let (near, far) = (fleet.sshd.port.to_string(), proxy.port.to_string());
    let known = fleet.sshd.path("known_hosts");
    let keys = std::fs::read_to_string(&known).unwrap();
    std::fs::write(&known, format!("{keys}{}", keys.replace(&near, &far))).unwrap();
    // In no order of their names.
    let mut config = "[defaults]\nreconnect = \"1s\"\n".to_owned();
    for target in ["t3", "t0", "t2", "t1", "t4"] {
        let all = cli.read("upgrade-host.toml");
        let one = all.split("[targets.").find(|one| one.starts_with(target)).unwrap();
        let is_far = matches!(target, "t0" | "t2" | "t3");
        config.push_str("[targets.");
        config.push_str(&if is_far { one.replace(&near, &far) } else { one.to_owned() });
    }
    cli.write("upgrade-host.toml", &config);
    let child = cli.start(&["book.rhai", "--on", "t3,t0,t2,t1,t4", "--waves", "4"]);
    cli.wait("the last one is at work", || cli.path("here-t4").exists());
    drop(proxy);
    cli.write("go", "");

    let said = cli.end(child);

    assert_eq!(said.code, Some(0), "{said:?}");
    let left = |what: &str| -> Vec<String> {
        let lines = said.out.lines().filter(|line| line.contains(what));
        lines.filter_map(|line| Some(line.split(what).nth(1)?.get(..2)?.to_owned())).collect()
    };
    assert_eq!(left("files of this run are left on "), ["t3", "t0", "t2"], "{said:?}");
    assert_eq!(said.out.matches("is still held by this run: ").count(), 3, "{said:?}");
}

#[test]
fn beyond_its_point_of_no_return_a_target_is_not_taken_back() {
    let body = BODY.replace("sh(`!", "if t == \"t0\" { point_of_no_return(\"it is so\"); }\nsh(`!");
    let Some(fleet) = Fleet::new(3, "", &body) else { return };
    fleet.cli.write("bad", "t1\n");
    // Another target's point is none of its business.
    let said = fleet.book(&["--max", "1"], 3);
    assert!(said.out.contains("tries again what failed (t1)"), "{said:?}");
    assert_eq!(fleet.changed(), "t0");

    let Some(fleet) = Fleet::new(3, "", &body) else { return };
    fleet.cli.write("bad", "t0\n");
    let said = fleet.book(&["--yes"], 3);
    assert!(said.out.contains("beyond the point of no return"), "{said:?}");
    assert_eq!((fleet.began().as_str(), fleet.changed().as_str()), ("t0", "t0"));
    // The call that failed is tried again, where it stands.
    fleet.cli.write("bad", "");
    fleet.run(&["resume", "last"], 0);
    assert_eq!(fleet.began(), "t0 t1 t2");
}

#[test]
fn waves_within_lanes_within_waves_come_to_an_end() {
    let body = r#"
        let all = rolling(["a", "b", "c"], #{ max: 1 }, |x| each([1, 2], #{ max: 1 }, |y| output(`echo ${x}${y}`)));
        print(all.map(|one| one.value));
    "#;
    let Some(fleet) = Fleet::new(2, "", body) else { return };
    let said = fleet.book(&["--max", "1"], 0);
    let values = r#"[["a1", "a2"], ["b1", "b2"], ["c1", "c2"]]"#;
    assert_eq!(said.out.matches(values).count(), 2, "{said:?}");
}

#[test]
fn a_crash_anywhere_in_the_waves_leaves_nothing_half_known() {
    let arguments =
        ["book.rhai", "--on", "@fleet", "--waves", "1,100%", "--max-failures", "1", "--max", "2"];
    for write in (2..).step_by(7) {
        let Some(fleet) = Fleet::new(3, "", BODY) else { return };
        fleet.cli.write("bad", "t1\n");
        let die = format!("{write} {}", if write % 2 == 0 { "after" } else { "before" });
        let said =
            fleet.cli.end(fleet.cli.start_with(&arguments, &[("UPGRADE_HOST_DIE_AT", &die)]));
        if said.code == Some(3) {
            assert!(write > 30, "only {write} writes were met: {said:?}");
            return;
        }
        assert_eq!(said.code, None, "{die}: {said:?}");
        let said = fleet.run(&["resume", "last"], 3);
        assert!(said.out.contains("tries again what failed (t1)"), "{die}: {said:?}");
        assert_eq!(fleet.changed(), "t0 t2", "{die}: {said:?}");
        // A resume after it stopped for the operator is the answer, and tries again.
        let began = fleet.began();
        assert!(matches!(began.as_str(), "t0 t1 t2" | "t0 t1 t1 t2"), "{die}: {began}");
        fleet.run(&["resume", "last", "--skip", "t1"], 0);
        assert_eq!((fleet.began(), fleet.changed().as_str()), (began, "t0 t2"), "{die}");
    }
}
