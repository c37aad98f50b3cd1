//! Against the real rsync in temporary directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::action::Rsync;
use super::*;
use crate::effect::bench::Bench;
use crate::effect::{Mode, perform, roll_back};
use crate::error::{Failure, Halt, Kind, Stop};
use crate::event::{PlanState, What};

fn bench() -> Bench {
    let mut registry = Registry::default();
    actions(&mut registry);
    let bench = Bench::new(registry);
    for (name, text) in
        [("a/x", "one"), ("a/sub/y", "two"), ("a/skip.tmp", "three"), ("b/z", "four")]
    {
        let path = bench.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    bench
}

fn copy(bench: &Bench, from: &[&str], to: &str) -> Rsync {
    let side = |name: &&str| Side::new(&format!("{}/{name}", bench.path().display())).unwrap();
    Rsync {
        from: from.iter().map(side).collect(),
        to: side(&to),
        exclude: Vec::new(),
        include: Vec::new(),
        delete: false,
        checksum: false,
        bandwidth: None,
        options: Vec::new(),
        timeout_ms: None,
        until_ms: None,
        passes_max: 5,
        relative: false,
        dry: false,
    }
}

fn fails(bench: &Bench, action: &Rsync) -> Failure {
    match perform(&bench.lane(Mode::Run), None, action) {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("expected a failure: {other:?}"),
    }
}

#[test]
fn a_copy_tells_what_it_did_and_a_second_one_does_nothing() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let action =
        Rsync { exclude: vec!["*.tmp".into()], ..copy(&bench, &["a/", "b"], "deep/er/copy") };

    let first = perform(&lane, None, &action).unwrap();
    let second = perform(&lane, None, &action).unwrap();

    assert_eq!((first.files, first.bytes, first.deleted, first.changed), (3, 10, 0, true));
    assert_eq!((second.files, second.changed, second.total_bytes), (0, false, 10));
    assert_eq!(fs::read_to_string(bench.path().join("deep/er/copy/b/z")).unwrap(), "four");
    assert!(!bench.path().join("deep/er/copy/skip.tmp").exists());
    assert!(bench.events().iter().any(
        |what| matches!(what, What::CallProgress { progress, .. } if progress.unit == "bytes")
    ));
}

#[test]
fn what_only_changes_its_mode_is_a_change_and_what_a_run_keeps_is_not_copied() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let action = Rsync { delete: true, ..copy(&bench, &["a/"], "copy/") };
    perform(&lane, None, &action).unwrap();
    fs::set_permissions(bench.path().join("a/x"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(bench.path().join("a/.upgrade-host-r-s-old-x"), "kept").unwrap();
    fs::remove_file(bench.path().join("a/sub/y")).unwrap();

    let copied = perform(&lane, None, &action).unwrap();

    assert_eq!((copied.files, copied.deleted, copied.changed), (0, 1, true));
    assert!(!bench.path().join("copy/.upgrade-host-r-s-old-x").exists());
}

#[test]
fn plan_shows_the_changes_and_copies_nothing() {
    let bench = bench();
    let action = copy(&bench, &["a/"], "copy");

    let would = perform(&bench.lane(Mode::Plan), None, &action).unwrap();

    assert_eq!((would.files, would.changed), (3, true));
    assert!(!bench.path().join("copy").exists());
    let planned = |bench: &Bench| {
        let find = |what| match what {
            What::CallPlanned { planned, .. } => Some(planned),
            _ => None,
        };
        bench.events().into_iter().filter_map(find).next_back().unwrap()
    };
    let shown = planned(&bench);
    assert!(shown.changes.iter().any(|line| line.ends_with("sub/y")), "{shown:?}");
    assert_eq!(shown.changes.last().unwrap(), "3 files, 11 B of 11 B");
    assert_eq!(shown.undo.unwrap(), "nothing to undo: the copy stays, and the source is untouched");

    // Another run: this one would answer from its journal.
    perform(&bench.lane(Mode::Run), None, &action).unwrap();
    let next = self::bench();
    perform(&next.lane(Mode::Plan), None, &action).unwrap();
    assert_eq!(planned(&next).state, PlanState::Already);
}

#[test]
fn a_long_plan_says_how_many_more() {
    let bench = bench();
    for number in 0..50 {
        fs::write(bench.path().join(format!("b/{number}")), "x").unwrap();
    }

    perform(&bench.lane(Mode::Plan), None, &copy(&bench, &["b/"], "copy")).unwrap();

    let found = bench.events().into_iter().find_map(|what| match what {
        What::CallPlanned { planned, .. } => Some(planned.changes),
        _ => None,
    });
    let changes = found.unwrap();
    assert_eq!((changes.len(), changes[20].as_str()), (22, "and 32 more"));
}

#[test]
fn a_missing_source_fails_before_anything_and_a_plan_only_warns() {
    let bench = bench();
    let action = copy(&bench, &["none"], "copy");

    perform(&bench.lane(Mode::Plan), None, &action).unwrap();
    let failure = fails(&bench, &action);

    assert_eq!(failure.kind, Kind::NotFound);
    assert!(!bench.path().join("copy").exists());
    assert!(bench.events().iter().any(|what| matches!(what, What::Warning { .. })));
}

#[test]
fn links_do_not_hide_that_one_side_is_in_the_other() {
    let bench = bench();
    std::os::unix::fs::symlink("a", bench.path().join("link")).unwrap();
    std::os::unix::fs::symlink("/", bench.path().join("root")).unwrap();

    assert!(
        fails(&bench, &copy(&bench, &["a"], "link/sub/new")).message.contains("inside its source")
    );
    let bench = self::bench();
    std::os::unix::fs::symlink("/", bench.path().join("root")).unwrap();
    assert!(
        fails(&bench, &copy(&bench, &["a"], "root")).message.contains("root of the file system")
    );
}

#[test]
fn what_cannot_be_copied_fails_with_rsyncs_words() {
    let bench = bench();
    // A file where a directory of the source goes.
    fs::create_dir(bench.path().join("copy")).unwrap();
    let action =
        Rsync { options: vec!["--no-such-option".into()], ..copy(&bench, &["a/"], "copy") };

    let failure = fails(&bench, &action);

    assert_eq!(failure.kind, Kind::Input);
    assert!(failure.message.contains("--no-such-option"), "{failure}");
    assert_eq!(failure.code, Some(1));
}

#[test]
fn a_pass_that_takes_too_long_is_a_timeout_and_is_gone() {
    let bench = bench();
    fs::write(bench.path().join("a/big"), vec![7; 4 << 20]).unwrap();
    let action = Rsync {
        bandwidth: Some(64 << 10),
        timeout_ms: Some(1500),
        ..copy(&bench, &["a/"], "copy")
    };

    let failure = fails(&bench, &action);

    assert_eq!(failure.kind, Kind::Timeout);
}

#[test]
fn passes_are_repeated_until_they_are_short() {
    let bench = bench();
    let action = Rsync { until_ms: Some(60_000), ..copy(&bench, &["a/"], "copy") };
    let never = Rsync { until_ms: Some(0), passes_max: 3, ..copy(&bench, &["b/"], "copy") };
    let lane = bench.lane(Mode::Run);

    let copied = perform(&lane, None, &action).unwrap();
    let many = perform(&lane, None, &never).unwrap();

    assert_eq!((copied.passes.len(), copied.fits, copied.files), (1, true, 3));
    assert_eq!((many.passes.len(), many.fits, many.files), (3, false, 1));
    assert!(
        bench
            .events()
            .iter()
            .any(|what| matches!(what, What::Warning { text } if text.contains("after 3 passes")))
    );
}

#[test]
fn a_dry_copy_counts_only() {
    let bench = bench();
    let action = Rsync { dry: true, ..copy(&bench, &["a/"], "copy") };

    let copied = perform(&bench.lane(Mode::Run), None, &action).unwrap();

    assert_eq!((copied.files, copied.changed), (3, true));
    assert!(!bench.path().join("copy").exists());
}

#[test]
fn a_copy_that_was_cut_off_goes_on_and_rollback_leaves_it() {
    let bench = bench();
    fs::write(bench.path().join("a/big"), vec![7; 4 << 20]).unwrap();
    let lane = bench.lane(Mode::Run);
    let cancel = lane.run().cancel.clone();
    let slow = copy(&bench, &["a/"], "copy");
    let started = bench.path().join("copy");
    // The kill comes once rsync has begun to write.
    let killer = std::thread::spawn(move || {
        while !started.exists() {
            std::thread::yield_now();
        }
        cancel.cancel();
    });
    let slow = Rsync { bandwidth: Some(256 << 10), ..slow };
    assert!(matches!(perform(&lane, None, &slow), Err(Halt::Stop(Stop::Cancelled))));
    killer.join().unwrap();

    let action = Rsync { bandwidth: Some(256 << 10), options: Vec::new(), ..slow };
    let lane = bench.lane(Mode::Run);
    fs::write(bench.path().join("a/big"), "small now").unwrap();
    let copied = perform(&lane, None, &action).unwrap();

    assert!(copied.changed);
    assert_eq!(fs::read_to_string(bench.path().join("copy/big")).unwrap(), "small now");
    assert_eq!(roll_back(&lane).unwrap().done, 0);
    assert!(bench.path().join("copy/big").exists());
}

#[test]
fn a_file_that_is_cut_off_is_never_torn_and_goes_on_from_its_part() {
    let bench = bench();
    let lane = bench.lane(Mode::Run);
    let text = "0123456789abcdef".repeat(64 << 10);
    fs::write(bench.path().join("a/big"), &text).unwrap();
    fs::create_dir(bench.path().join("copy")).unwrap();
    fs::write(bench.path().join("copy/big"), "the old one").unwrap();
    let slow = Rsync {
        bandwidth: Some(256 << 10),
        timeout_ms: Some(1500),
        delete: true,
        ..copy(&bench, &["a/"], "copy/")
    };

    assert_eq!(fails(&bench, &slow).kind, Kind::Timeout);
    let old = fs::read_to_string(bench.path().join("copy/big")).unwrap();
    let part = fs::metadata(bench.path().join("copy/.upgrade-host-partial/big")).unwrap().len();
    assert_eq!(old, "the old one");
    assert!(part > 0 && part < text.len() as u64, "{part}");

    let rest = Rsync { delete: true, ..copy(&bench, &["a/"], "copy/") };
    perform(&lane, None, &rest).unwrap();

    assert!(fs::read_to_string(bench.path().join("copy/big")).unwrap() == text);
    assert!(!bench.path().join("copy/.upgrade-host-partial").exists());
}
