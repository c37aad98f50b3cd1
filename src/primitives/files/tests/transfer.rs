//! Files there and back, cut off in the middle, and changed meanwhile.

use super::*;
use crate::primitives::files::transfer::{Download, Upload};

/// More than one piece, and no whole number of them.
const BIG: usize = 9_000_000;

fn sent(from: &At, to: &At) -> Upload {
    Upload { from: from.clone(), to: to.clone(), mode: None, owner: None }
}

fn fetched(from: &At, to: &At) -> Download {
    Download { from: from.clone(), to: to.clone(), overwrite: false }
}

fn big(case: &Case, name: &str) -> Vec<u8> {
    let bytes: Vec<u8> = (0..BIG).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    fs::write(case.dir().join(name), &bytes).unwrap();
    bytes
}

/// What has arrived so far of a file beside its place.
fn part(case: &Case) -> Option<PathBuf> {
    let mut entries = fs::read_dir(case.dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.to_str().unwrap().contains("-new-"))
}

#[test]
fn a_file_is_sent_once_and_taken_back() {
    let case = Case::new();
    let bytes = big(&case, "here");
    case.file("there", "old");
    case.sh("chmod 640 there");
    let before = case.tree();
    let lane = case.bench.lane(Mode::Run);
    let action = sent(&case.at("here"), &case.at("there"));

    assert_eq!(perform(&lane, None, &action), Ok(true));
    assert_eq!(perform(&lane, None, &action), Ok(false));

    assert!(fs::read(case.dir().join("there")).unwrap() == bytes);
    assert_eq!(fs::metadata(case.dir().join("there")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(told(&case).last(), Some(&(BIG as u64)));
    assert_eq!(case.undo(), (1, vec![]));
    assert_eq!(case.tree(), before);
    assert_eq!(case.clean(), Some(0));
    assert_eq!(part(&case), None);
}

/// How far transfers had come each time when they told it.
fn told(case: &Case) -> Vec<u64> {
    let progress = |what| match what {
        What::CallProgress { progress, .. } => Some(progress.done),
        _ => None,
    };
    case.bench.events().into_iter().filter_map(progress).collect()
}

#[test]
fn a_transfer_goes_on_from_what_has_arrived() {
    let case = Case::new();
    let bytes = big(&case, "a");
    let (part, to) = (bytes[..6_000_000].to_vec(), case.at("up"));
    let action = sent(&case.at("a"), &to);
    interrupt(&case, action.clone(), move |_, before| {
        fs::write(before.mark.fresh(&to), &part).unwrap();
        Ok(())
    });
    assert_eq!(case.run(&action), Ok(true));
    assert!(fs::read(case.dir().join("up")).unwrap() == bytes);
    assert_eq!(told(&case)[0], 6_000_000);

    let case = Case::new();
    let bytes = big(&case, "a");
    let (part, to) = (bytes[..6_000_000].to_vec(), case.at("down"));
    let action = fetched(&case.at("a"), &to);
    interrupt(&case, action.clone(), move |_, before| {
        fs::write(before.mark.fresh(&to), &part).unwrap();
        Ok(())
    });
    assert_eq!(case.run(&action), Ok(true));
    assert!(fs::read(case.dir().join("down")).unwrap() == bytes);
    assert_eq!(told(&case)[0], 6_000_000);
}

#[test]
fn a_file_that_was_sent_before_the_kill_may_be_gone_or_changed_here_since() {
    for since in ["rm here", "echo another >here"] {
        let case = Case::new();
        let bytes = big(&case, "here");
        let action = sent(&case.at("here"), &case.at("there"));
        let twin = action.clone();
        interrupt(&case, action.clone(), move |cx, before| twin.apply(cx, before).map(drop));
        case.sh(since);

        assert_eq!(case.run(&action), Ok(true), "{since}");
        assert!(fs::read(case.dir().join("there")).unwrap() == bytes, "{since}");
    }
}

#[test]
fn what_has_arrived_and_is_something_else_is_not_shown() {
    let case = Case::new();
    let bytes = big(&case, "a");
    let to = case.at("up");
    let action = sent(&case.at("a"), &to);
    interrupt(&case, action.clone(), move |_, before| {
        fs::write(before.mark.fresh(&to), vec![0; 6_000_000]).unwrap();
        Ok(())
    });

    let failure = case.fails(&action);

    assert_eq!(failure.kind, Kind::Check, "{failure}");
    assert!(!case.dir().join("up").exists());
    assert_eq!(part(&case), None);
    case.bench.pause_after(&failure);
    assert_eq!(case.run(&action), Ok(true));
    assert!(fs::read(case.dir().join("up")).unwrap() == bytes);
}

#[test]
fn a_file_is_fetched_and_another_one_is_not_replaced() {
    let case = Case::new();
    let bytes = big(&case, "there");
    let lane = case.bench.lane(Mode::Run);
    let action = fetched(&case.at("there"), &case.at("here"));

    assert_eq!(perform(&lane, None, &action), Ok(true));
    assert_eq!(perform(&lane, None, &action), Ok(false));
    assert!(fs::read(case.dir().join("here")).unwrap() == bytes);

    case.file("here", "another");
    let failure = refused(&lane, &action);
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(failure.message.contains("on this machine it is there"), "{failure}");
    let over = Download { overwrite: true, ..action };
    assert_eq!(perform(&lane, None, &over), Ok(true));
    assert!(fs::read(case.dir().join("here")).unwrap() == bytes);
}

#[test]
fn what_is_missing_is_told_on_which_side() {
    let case = Case::new();
    case.file("x", "");
    let lane = case.bench.lane(Mode::Run);
    let failure = refused(&lane, &sent(&case.at("missing"), &case.at("y")));
    assert_eq!(failure.kind, Kind::NotFound);
    assert!(failure.message.starts_with("on this machine: "), "{failure}");
    let failure = refused(&lane, &sent(&case.at("x"), &case.at("no/y")));
    assert!(failure.message.contains("is not there"), "{failure}");
    let failure = refused(&lane, &fetched(&case.at("missing"), &case.at("y")));
    assert_eq!((failure.kind, failure.target.as_deref()), (Kind::NotFound, Some("local")));
    let failure = refused(&lane, &fetched(&case.at("x"), &case.at("no/y")));
    assert!(failure.message.contains("on this machine there is no directory"), "{failure}");
}

/// A directory to be sent, with what a run keeps for its undo in it.
fn directory(case: &Case) {
    case.file("here/a", "one");
    case.file("here/sub dir/-b", "two");
    case.file("here/.upgrade-host-r-s-old-a", "kept for an undo");
    case.sh("ln -s /nowhere here/link; chmod 750 'here/sub dir'; mkdir here/empty");
}

#[test]
fn a_directory_is_sent_once_and_taken_back() {
    let case = Case::new();
    directory(&case);
    case.file("there/old", "old");
    let before = case.tree();
    let lane = case.bench.lane(Mode::Run);
    let action = sent(&case.at("here"), &case.at("there"));

    assert_eq!(perform(&lane, None, &action), Ok(true));
    assert_eq!(perform(&lane, None, &action), Ok(false));

    assert_eq!(fs::read_to_string(case.dir().join("there/sub dir/-b")).unwrap(), "two");
    assert!(!case.dir().join("there/old").exists());
    assert!(!case.dir().join("there/.upgrade-host-r-s-old-a").exists());
    assert_eq!(case.undo(), (1, vec![]));
    assert_eq!(case.tree(), before);
    assert_eq!(case.clean(), Some(0));
    assert_eq!(part(&case), None);
}

#[test]
fn a_directory_that_was_cut_off_is_sent_anew() {
    let case = Case::new();
    directory(&case);
    let to = case.at("there");
    let action = sent(&case.at("here"), &to);
    interrupt(&case, action.clone(), move |_, before| {
        let part = PathBuf::from(before.mark.fresh(&to));
        fs::create_dir(&part).unwrap();
        fs::write(part.join("a"), "half").unwrap();
        fs::write(part.join("stray"), "").unwrap();
        Ok(())
    });

    assert_eq!(case.run(&action), Ok(true));

    assert_eq!(fs::read_to_string(case.dir().join("there/a")).unwrap(), "one");
    assert!(!case.dir().join("there/stray").exists());
}

#[test]
fn a_directory_is_fetched_and_another_one_is_replaced_only_if_that_is_wished() {
    let case = Case::new();
    directory(&case);
    let lane = case.bench.lane(Mode::Run);
    let action = fetched(&case.at("here"), &case.at("copy"));

    assert_eq!(perform(&lane, None, &action), Ok(true));
    assert_eq!(perform(&lane, None, &action), Ok(false));
    assert_eq!(fs::read_link(case.dir().join("copy/link")).unwrap(), PathBuf::from("/nowhere"));

    case.file("copy/a", "another");
    let failure = refused(&lane, &action);
    assert!(failure.message.contains("not the same"), "{failure}");
    let over = Download { overwrite: true, ..action };
    assert_eq!(perform(&lane, None, &over), Ok(true));
    assert_eq!(fs::read_to_string(case.dir().join("copy/a")).unwrap(), "one");
    // Nothing else is left here.
    let names: Vec<_> =
        fs::read_dir(case.dir()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_directory_and_a_file_do_not_take_each_others_place() {
    let case = Case::new();
    directory(&case);
    case.file("file", "");
    let lane = case.bench.lane(Mode::Run);
    let (here, file) = (case.at("here"), case.at("file"));
    for (from, to) in [(&here, &file), (&file, &here)] {
        assert_eq!(refused(&lane, &sent(from, to)).kind, Kind::Conflict);
        assert_eq!(refused(&lane, &fetched(from, to)).kind, Kind::Conflict);
    }
    let with_mode = Upload { mode: Some("0755".into()), ..sent(&here, &case.at("new")) };
    let failure = refused(&lane, &with_mode);
    assert!(failure.message.contains("`mode` is for a file"), "{failure}");
}
