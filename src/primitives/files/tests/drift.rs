//! What somebody else changed since is told before it is undone, and never lost.

use super::*;
use crate::primitives::app::mock::Answers;

/// A change, and what somebody else does to a file afterwards.
type Scene = (&'static str, fn(&Case), &'static str);

fn home(case: &Case) {
    case.sh("mkdir home new; echo old >home/run; cp home/run new/; echo new >new/run; echo added >new/added; tar -C new -cf p.tar .");
}

const SCENES: &[Scene] = &[
    (
        "a file that was written",
        |case| {
            case.run(&write_text(&case.file("f", "old"), "ours")).unwrap();
        },
        "f",
    ),
    (
        "a file that is new",
        |case| {
            case.run(&write_text(&case.at("f"), "ours")).unwrap();
        },
        "f",
    ),
    (
        "a secret that was written",
        |case| {
            let content = Content::Secret(SecretRef { name: "pass".to_owned() });
            let path = case.file("f", "old");
            case.run(&WriteFile { content, ..write_text(&path, "") }).unwrap();
        },
        "f",
    ),
    (
        "a file in which something was replaced",
        |case| {
            case.run(&replace(&case.file("f", "on"), "on", "off")).unwrap();
        },
        "f",
    ),
    (
        "a file that was copied over",
        |case| {
            case.run(&copied(&case.file("a", "new"), &case.file("f", "old"))).unwrap();
        },
        "f",
    ),
    (
        "a tree that was copied",
        |case| {
            case.file("a/x", "new");
            case.file("b/x", "old");
            case.run(&copied(&case.at("a"), &case.at("b"))).unwrap();
        },
        "b/x",
    ),
    (
        "a file that was removed",
        |case| {
            let path = case.file("f", "old");
            case.run(&Remove { path, recursive: false, keep: true }).unwrap();
        },
        "f",
    ),
    (
        "a file that was moved away",
        |case| {
            case.run(&moved(&case.file("f", "old"), &case.at("g"), false)).unwrap();
        },
        "f",
    ),
    (
        "a file that unpacking replaced",
        |case| {
            home(case);
            case.run(&unpacking(case, "p.tar")).unwrap();
        },
        "home/run",
    ),
    (
        "a file that unpacking added",
        |case| {
            home(case);
            case.run(&unpacking(case, "p.tar")).unwrap();
        },
        "home/added",
    ),
];

/// The tree before the call of a scene: what its preparation made, without the change.
fn undone(case: &Case) -> Vec<String> {
    let lane = case.bench.lane(Mode::Rebuild);
    recall_inverses(&lane);
    let done = roll_back(&lane).unwrap();
    assert_eq!((done.done, done.failed), (1, vec![]));
    case.tree()
}

fn warnings(case: &Case) -> Vec<String> {
    let told = |what| match what {
        What::Warning { text } => Some(text),
        _ => None,
    };
    case.bench.events().into_iter().filter_map(told).collect()
}

/// Changes a file as an editor does, a moment later.
fn edit(case: &Case, name: &str) {
    std::thread::sleep(std::time::Duration::from_millis(20));
    case.sh(&format!("echo theirs >{name}.tmp; mv {name}.tmp {name}"));
}

#[test]
fn what_nobody_changed_is_undone_without_a_word() {
    for (what, change, _) in SCENES {
        let case = Case::new();
        change(&case);

        let tree = undone(&case);

        assert!(warnings(&case).is_empty(), "{what}: {:?}", warnings(&case));
        assert!(!tree.iter().any(|line| line.contains("changed-")), "{what}: {tree:?}");
    }
}

#[test]
fn what_somebody_changed_since_is_kept_beside_and_said() {
    for (what, change, name) in SCENES {
        let (plain, case) = (Case::new(), Case::new());
        change(&plain);
        let mut expected = undone(&plain);
        change(&case);
        edit(&case, name);

        let mut tree = undone(&case);

        // A tree is set aside whole.
        let top = if *name == "b/x" { "b" } else { name };
        let kept = format!("{top}.changed-{}", case.id);
        let kept_file = name.replacen(top, &kept, 1);
        assert_eq!(case.read(&kept_file), "theirs\n", "{what}");
        tree.retain(|line| !line.starts_with(&kept) && !line.starts_with("p.tar"));
        expected.retain(|line| !line.starts_with("p.tar"));
        tree.sort();
        expected.sort();
        assert_eq!(tree, expected, "{what}");
        let said = warnings(&case);
        assert!(said[0].starts_with("somebody changed since on local: "), "{what}: {said:?}");
        assert!(said[1].ends_with(&kept), "{what}: {said:?}");
        assert_eq!(case.clean(), Some(0));
        assert_eq!(case.read(&kept_file), "theirs\n", "{what}: cleaning took it");
    }
}

#[test]
fn a_rollback_that_was_asked_for_asks() {
    for (answer, content, failures) in [("undo", "old", 0), ("leave", "theirs\n", 1)] {
        let mut case = Case::new();
        case.run(&write_text(&case.file("f", "old"), "ours")).unwrap();
        edit(&case, "f");
        case.bench.ask(std::sync::Arc::new(Answers(answer)));

        let (_, failed) = case.undo();

        assert_eq!((case.read("f").as_str(), failed.len()), (content, failures), "{answer}");
        if let [failure] = &failed[..] {
            assert_eq!(failure.kind, Kind::Conflict);
            assert!(failure.message.contains("left as it is: somebody changed"), "{failure}");
            // Asked again, it may be decided otherwise.
            case.bench.pause_after(failure);
            case.bench.ask(std::sync::Arc::new(Answers("undo")));
            assert_eq!(case.undo(), (1, vec![]));
            assert_eq!(case.read("f"), "old");
        }
    }
}

#[test]
fn a_rollback_that_was_asked_for_pauses_where_nobody_answers() {
    let mut case = Case::new();
    case.run(&write_text(&case.file("f", "old"), "ours")).unwrap();
    edit(&case, "f");
    case.bench.ask(std::sync::Arc::new(crate::effect::Nobody));
    let lane = case.bench.lane(Mode::Rebuild);
    recall_inverses(&lane);

    let stopped = roll_back(&lane).unwrap_err();

    let Halt::Stop(Stop::Paused(pause)) = stopped else { panic!("{stopped:?}") };
    assert!(pause.why.contains("somebody changed since on local: "), "{}", pause.why);
    assert_eq!(case.read("f"), "theirs\n");
}

/// What the run does later to a file, by having the application change something.
fn rewritten(case: &Case, name: &str, rewrite: &str) {
    let lane = case.bench.lane(Mode::Run);
    let call = lane.next_call("replication");
    let cx = Cx { lane: &lane, target: lane.target(), call: &call };
    let path = case.at(name).to_string();
    let note = super::own::Rewritten::begin(&cx, &[path, "/none/such".to_owned()]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    case.sh(rewrite);
    note.end(&cx).unwrap();
}

#[test]
fn what_a_later_call_of_the_run_made_of_a_file_is_no_drift() {
    for (what, change, name) in SCENES.iter().filter(|scene| !matches!(scene.2, "b/x")) {
        let case = Case::new();
        change(&case);
        if !case.dir().join(name).exists() {
            continue;
        }
        rewritten(&case, name, &format!("echo rewritten >{name}"));
        rewritten(&case, name, &format!("echo twice >{name}"));

        let tree = undone(&case);

        assert!(warnings(&case).is_empty(), "{what}: {:?}", warnings(&case));
        assert!(!tree.iter().any(|line| line.contains("changed-")), "{what}: {tree:?}");
    }
}

#[test]
fn a_change_before_between_or_after_what_the_run_did_later_is_not_hidden() {
    for when in 0..3 {
        let case = Case::new();
        home(&case);
        case.run(&unpacking(&case, "p.tar")).unwrap();
        for step in 0..3 {
            if step == when {
                edit(&case, "home/run");
            }
            if step < 2 {
                rewritten(&case, "home/run", "echo rewritten >>home/run");
            }
        }

        undone(&case);

        let kept = case.read(&format!("home/run.changed-{}", case.id));
        assert!(kept.starts_with("theirs\n"), "{when}: {kept}");
    }
}
