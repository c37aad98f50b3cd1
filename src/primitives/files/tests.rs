//! The family against real tools in temporary directories.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use super::place::{Copy, MakeDir, Move, Remove};
use super::read::{Checksum, Exists, FileInfo, ReadFile};
use super::unpack::{Unpack, UnpackDry};
use super::write::{Content, ReplaceInFile, WriteFile};
use super::*;
use crate::effect::bench::Bench;
use crate::effect::{
    Action, Cx, Lane, Mode, Owes, Plan, Reconciled, perform, query, recall_inverses, roll_back,
};
use crate::error::{Halt, Kind, Result, Stop};
use crate::event::What;
use crate::journal::Inverse;

mod drift;
mod transfer;

/// A bench whose run leaves nothing on this machine when the test ends, whatever happens.
struct Case {
    bench: Bench,
    id: String,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.clean();
    }
}

impl Case {
    fn new() -> Self {
        let mut registry = Registry::default();
        actions(&mut registry);
        let bench = Bench::new(registry);
        let name = bench.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        let id = format!("test-{name}");
        let case = Self { bench: bench.named(&id), id };
        fs::create_dir(case.dir()).unwrap();
        case
    }

    fn dir(&self) -> PathBuf {
        self.bench.path().join("t")
    }

    fn file(&self, name: &str, text: &str) -> At {
        let path = self.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.at(name)
    }

    fn at(&self, name: &str) -> At {
        At::new(self.dir().join(name).to_str().unwrap()).unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(name)).unwrap()
    }

    fn run<A: Action>(&self, action: &A) -> Result<A::Output> {
        perform(&self.bench.lane(Mode::Run), None, action)
    }

    fn fails<A: Action>(&self, action: &A) -> Failure
    where
        A::Output: std::fmt::Debug,
    {
        refused(&self.bench.lane(Mode::Run), action)
    }

    /// Undoes from the record alone, in a new process.
    fn undo(&self) -> (u32, Vec<Failure>) {
        let lane = self.bench.lane(Mode::Rebuild);
        recall_inverses(&lane);
        let undone = roll_back(&lane).unwrap();
        (undone.done, undone.failed)
    }

    /// Every path with its type, mode and content, except what is ours.
    fn tree(&self) -> Vec<String> {
        let mut out = Vec::new();
        walk(&self.dir(), &self.dir(), &mut out);
        out.retain(|line| !line.contains(".upgrade-host-"));
        out.sort();
        out
    }

    fn clean(&self) -> Option<i32> {
        Process::new("sh").args(["-c", clean_script(), "sh", &self.id]).status().ok()?.code()
    }

    fn spool(&self) -> PathBuf {
        let id = Process::new("id").arg("-u").output().unwrap();
        let id = String::from_utf8(id.stdout).unwrap();
        PathBuf::from(format!("/var/tmp/upgrade-host-{}/{}", id.trim(), self.id))
    }

    /// Makes the ground of a test, with the system's tools whatever PATH the family's scripts are tried with.
    fn sh(&self, line: &str) {
        let mut sh = Process::new("/bin/sh");
        sh.args(["-ec", line]).current_dir(self.dir()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let status = sh.status().unwrap();
        assert!(status.success(), "{line}");
    }
}

fn refused<A: Action>(lane: &Lane, action: &A) -> Failure
where
    A::Output: std::fmt::Debug,
{
    match perform(lane, None, action) {
        Err(Halt::Failure(failure)) => *failure,
        other => panic!("expected a failure: {other:?}"),
    }
}

fn walk(root: &Path, dir: &Path, out: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if meta.is_symlink() {
            out.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else if meta.is_dir() {
            out.push(format!("{name}/ {:o}", meta.mode() & 0o7777));
            walk(root, &path, out);
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            out.push(format!("{name} {:o} {text}", meta.mode() & 0o7777));
        }
    }
}

fn write_text(path: &At, text: &str) -> WriteFile {
    WriteFile {
        path: path.clone(),
        content: Content::Text(text.to_owned()),
        mode: None,
        owner: None,
        backup: false,
    }
}

#[test]
fn writing_keeps_mode_and_is_undone_in_another_process() {
    let case = Case::new();
    let path = case.file("a b", "old\n");
    fs::set_permissions(path.as_str(), fs::Permissions::from_mode(0o640)).unwrap();
    let before = case.tree();

    assert_eq!(case.run(&write_text(&path, "new\n")), Ok(true));

    assert_eq!(case.read("a b"), "new\n");
    assert_eq!(fs::metadata(path.as_str()).unwrap().mode() & 0o777, 0o640);
    assert_eq!(case.undo(), (1, vec![]));
    assert_eq!(case.tree(), before);
}

#[test]
fn writing_the_same_is_no_change_and_a_new_file_goes_away_again() {
    let case = Case::new();
    let path = case.at("new");
    let lane = case.bench.lane(Mode::Run);

    assert_eq!(perform(&lane, None, &write_text(&path, "x")), Ok(true));
    assert_eq!(perform(&lane, None, &write_text(&path, "x")), Ok(false));

    assert_eq!(case.undo().0, 1);
    assert!(case.tree().is_empty());
    assert_eq!(case.clean(), Some(0));
    assert_eq!(fs::read_dir(case.dir()).unwrap().count(), 0);
    assert!(!case.spool().exists());
}

#[test]
fn two_writes_of_one_file_are_undone_to_the_first_content() {
    let case = Case::new();
    let path = case.file("f", "one");
    let lane = case.bench.lane(Mode::Run);
    perform(&lane, None, &write_text(&path, "two")).unwrap();
    perform(&lane, None, &write_text(&path, "three")).unwrap();

    assert_eq!(case.undo(), (2, vec![]));

    assert_eq!(case.read("f"), "one");
}

#[test]
fn a_secret_is_written_but_stands_in_no_record() {
    let case = Case::new();
    let path = case.at("pw");
    let content = Content::Secret(SecretRef { name: "pass".to_owned() });
    let action = WriteFile { content, mode: Some("0600".to_owned()), ..write_text(&path, "") };

    assert_eq!(case.run(&action), Ok(true));

    assert_eq!(case.read("pw"), "value-of-pass");
    assert_eq!(fs::metadata(path.as_str()).unwrap().mode() & 0o777, 0o600);
    let secret: String = Sha(b"value-of-pass").to_string();
    for entry in fs::read_dir(case.bench.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        for needle in ["value-of-pass", &secret] {
            assert!(!bytes.windows(needle.len()).any(|part| part == needle.as_bytes()), "{path:?}");
        }
    }
}

struct Sha(&'static [u8]);

impl std::fmt::Display for Sha {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use sha2::{Digest, Sha256};
        Sha256::digest(self.0).iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[test]
fn a_link_is_written_through() {
    let case = Case::new();
    case.file("real", "old");
    symlink("real", case.dir().join("link")).unwrap();

    assert_eq!(case.run(&write_text(&case.at("link"), "new")), Ok(true));

    assert_eq!(case.read("real"), "new");
    assert!(case.dir().join("link").is_symlink());
    case.undo();
    assert_eq!(case.read("real"), "old");
}

#[test]
fn plan_writes_nothing_and_shows_the_lines() {
    let case = Case::new();
    let path = case.file("f", "a\nb\nc\n");
    let before = case.tree();

    perform(&case.bench.lane(Mode::Plan), None, &write_text(&path, "a\nB\nc\n")).unwrap();

    assert_eq!(case.tree(), before);
    assert!(!case.spool().exists());
    let shown = planned(&case);
    assert_eq!(shown, ["-b", "+B"]);
}

fn planned(case: &Case) -> Vec<String> {
    let find = |what| match what {
        What::CallPlanned { planned, .. } => Some(planned.changes),
        _ => None,
    };
    case.bench.events().into_iter().filter_map(find).flatten().collect()
}

fn replace(path: &At, pattern: &str, replacement: &str) -> ReplaceInFile {
    ReplaceInFile {
        path: path.clone(),
        pattern: pattern.to_owned(),
        replacement: replacement.to_owned(),
        literal: false,
        count: None,
        must_match: true,
    }
}

#[test]
fn replacing_counts_keeps_other_bytes_and_is_undone() {
    let case = Case::new();
    let path = case.file("x.xml", "");
    fs::write(path.as_str(), b"a=\"Y\"\n\xff b=\"Y\"\n").unwrap();
    let lane = case.bench.lane(Mode::Run);

    let first = ReplaceInFile { count: Some(1), ..replace(&path, r#"(\w)="Y""#, r#"$1="N""#) };
    assert_eq!(perform(&lane, None, &first), Ok(1));
    assert_eq!(perform(&lane, None, &replace(&path, "Y", "$0$0")), Ok(1));
    let literal = ReplaceInFile { literal: true, ..replace(&path, "a=", "$1=") };
    assert_eq!(perform(&lane, None, &literal), Ok(1));

    assert_eq!(fs::read(path.as_str()).unwrap(), b"$1=\"N\"\n\xff b=\"YY\"\n");
    assert_eq!(case.undo().0, 3);
    assert_eq!(fs::read(path.as_str()).unwrap(), b"a=\"Y\"\n\xff b=\"Y\"\n");
}

#[test]
fn what_does_not_match_fails_but_a_second_call_does_not() {
    let case = Case::new();
    let path = case.file("f", "on\n");
    let lane = case.bench.lane(Mode::Run);

    assert_eq!(perform(&lane, None, &replace(&path, "^on$", "off")), Ok(1));
    assert_eq!(perform(&lane, None, &replace(&path, "^on$", "off")), Ok(0));

    let failure = refused(&lane, &replace(&path, "nowhere", "x"));
    assert_eq!(failure.kind, Kind::NotFound);
    assert!(failure.message.contains("matches `nowhere`"), "{failure}");
    assert_eq!(refused(&lane, &replace(&path, "(", "x")).kind, Kind::Input);
}

#[test]
fn a_file_that_changes_under_a_replacement_is_a_conflict() {
    let case = Case::new();
    let path = case.file("f", "on\n");
    let action = replace(&path, "on", "off");
    interrupt(&case, action.clone(), |_, _| Ok(()));
    fs::write(path.as_str(), "on, by somebody else\n").unwrap();

    let failure = case.fails(&action);

    assert_eq!((failure.kind, case.read("f").as_str()), (Kind::Conflict, "on, by somebody else\n"));
}

/// An action whose process dies in `apply`, after `by` was done of it.
#[derive(Clone)]
struct Interrupted<A: Action, F> {
    action: A,
    by: F,
}

impl<A: Action, F> serde::Serialize for Interrupted<A, F> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.action.serialize(serializer)
    }
}

impl<'de, A: Action, F> serde::Deserialize<'de> for Interrupted<A, F> {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never read"))
    }
}

impl<A, F> Action for Interrupted<A, F>
where
    A: Action,
    F: Fn(&Cx<'_>, &A::Before) -> Result<()> + Send + Sync + 'static,
{
    const NAME: &'static str = A::NAME;
    const ACCESS: crate::call::Access = A::ACCESS;
    type Before = A::Before;
    type Output = A::Output;

    fn summary(&self) -> String {
        self.action.summary()
    }

    fn look(&self, cx: &Cx<'_>) -> Result<A::Before> {
        self.action.look(cx)
    }

    fn plan(&self, before: &A::Before) -> Plan<A::Before, A::Output> {
        self.action.plan(before)
    }

    fn apply(&self, cx: &Cx<'_>, before: &A::Before) -> Result<A::Output> {
        (self.by)(cx, before)?;
        Err(Stop::Cancelled.into())
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &A::Before) -> Result<Reconciled<A::Output>> {
        self.action.reconcile(cx, before)
    }

    fn inverse(&self, before: &A::Before) -> Inverse {
        self.action.inverse(before)
    }

    fn owes(&self, before: &A::Before) -> Owes {
        self.action.owes(before)
    }
}

fn interrupt<A: Action>(
    case: &Case,
    action: A,
    by: impl Fn(&Cx<'_>, &A::Before) -> Result<()> + Send + Sync + 'static,
) {
    assert!(matches!(case.run(&Interrupted { action, by }), Err(Halt::Stop(Stop::Cancelled))));
}

#[test]
fn a_write_that_was_done_before_the_kill_is_told_as_a_change() {
    let case = Case::new();
    let path = case.file("f", "old");
    let action = write_text(&path, "new");
    let twin = action.clone();
    interrupt(&case, action.clone(), move |cx, before| twin.apply(cx, before).map(drop));

    assert_eq!(case.run(&action), Ok(true));

    assert_eq!(case.read("f"), "new");
    case.undo();
    assert_eq!(case.read("f"), "old");
}

fn copied(from: &At, to: &At) -> Copy {
    Copy { from: from.clone(), to: to.clone(), mode: None, owner: None, overwrite: true }
}

fn moved(from: &At, to: &At, overwrite: bool) -> Move {
    Move { from: from.clone(), to: to.clone(), overwrite }
}

#[test]
fn copies_of_files_and_trees_replace_are_the_same_and_are_undone() {
    let case = Case::new();
    case.file("a/x", "1");
    case.file("a/sub/y", "2");
    symlink("x", case.dir().join("a/l")).unwrap();
    case.file("b/old", "3");
    let file = case.file("f", "4");
    let before = case.tree();
    let lane = case.bench.lane(Mode::Run);

    assert_eq!(perform(&lane, None, &copied(&case.at("a"), &case.at("b"))), Ok(true));
    assert_eq!(perform(&lane, None, &copied(&case.at("a"), &case.at("b"))), Ok(false));
    assert_eq!(perform(&lane, None, &copied(&file, &case.at("a/x"))), Ok(true));
    let digest = |path| query(&lane, None, Checksum { path, exclude: vec!["x".into()] }).unwrap();
    assert_eq!(digest(case.at("a")), digest(case.at("b")));
    assert!(!case.dir().join("b/old").exists());

    assert_eq!(case.undo(), (2, vec![]));
    assert_eq!(case.tree(), before);
    assert_eq!(case.clean(), Some(0));
    assert_eq!(fs::read_dir(case.dir()).unwrap().count(), 3);
}

#[test]
fn a_copy_into_a_directory_needs_the_slash() {
    let case = Case::new();
    let file = case.file("f", "1");
    case.file("d/x", "2");
    let lane = case.bench.lane(Mode::Run);

    let failure = refused(&lane, &copied(&file, &case.at("d")));

    assert_eq!(failure.kind, Kind::Conflict);
    assert!(failure.hint.unwrap().contains("/`"));
    let to = place::into(&file, &format!("{}/", case.at("d"))).unwrap();
    assert_eq!(perform(&lane, None, &copied(&file, &to)), Ok(true));
    assert_eq!(case.read("d/f"), "1");
    assert_eq!(refused(&lane, &copied(&case.at("d"), &case.at("d/e"))).kind, Kind::Input);
}

#[test]
fn a_move_and_what_it_replaced_come_back() {
    let case = Case::new();
    case.file("a/x", "1");
    case.file("b/y", "2");
    let before = case.tree();
    let lane = case.bench.lane(Mode::Run);
    let away = moved(&case.at("nothing"), &case.at("c"), false);
    assert_eq!(refused(&lane, &moved(&case.at("a"), &case.at("b"), false)).kind, Kind::Conflict);
    assert_eq!(refused(&lane, &away).kind, Kind::NotFound);

    assert_eq!(perform(&lane, None, &moved(&case.at("a"), &case.at("b"), true)), Ok(true));

    assert_eq!(case.tree(), ["b/ 755", "b/x 644 1"]);
    assert_eq!(case.undo(), (1, vec![]));
    assert_eq!(case.tree(), before);
}

#[test]
fn a_move_onto_another_file_system_is_whole_and_comes_back() {
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let case = Case::new();
    case.file("a/x", "1");
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(case.dir()).unwrap().dev() {
        return;
    }
    let before = case.tree();
    let to = At::new(other.path().join("a").to_str().unwrap()).unwrap();

    assert_eq!(case.run(&moved(&case.at("a"), &to, false)), Ok(true));

    assert_eq!(fs::read_to_string(other.path().join("a/x")).unwrap(), "1");
    assert!(case.tree().is_empty());
    assert_eq!(case.undo(), (1, vec![]));
    assert_eq!(case.tree(), before);
    assert_eq!(case.clean(), Some(0));
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

fn removed(path: &At) -> Remove {
    Remove { path: path.clone(), recursive: true, keep: true }
}

#[test]
fn what_was_removed_comes_back_even_if_something_took_its_place() {
    let case = Case::new();
    case.file("a/x", "1");
    let before = case.tree();
    let timid = Remove { recursive: false, ..removed(&case.at("a")) };
    assert_eq!(case.fails(&timid).kind, Kind::Conflict);
    let lane = case.bench.lane(Mode::Run);
    assert!(perform(&lane, None, &timid).is_err());
    assert_eq!(perform(&lane, None, &removed(&case.at("a"))), Ok(true));
    assert_eq!(perform(&lane, None, &removed(&case.at("a"))), Ok(false));
    case.file("a/by somebody", "2");

    assert_eq!(case.undo(), (1, vec![]));

    let kept = format!("a.changed-{}", case.id);
    assert_eq!(case.read(&format!("{kept}/by somebody")), "2");
    fs::remove_dir_all(case.dir().join(kept)).unwrap();
    assert_eq!(case.tree(), before);
    assert_eq!(case.clean(), Some(0));
    assert_eq!(fs::read_dir(case.dir()).unwrap().count(), 1);
}

#[test]
fn a_removal_that_was_cut_off_keeps_the_first_thing() {
    let case = Case::new();
    let path = case.file("f", "mine");
    let action = removed(&path);
    let twin = action.clone();
    interrupt(&case, action.clone(), move |cx, before| twin.apply(cx, before).map(drop));
    case.file("f", "of somebody");

    assert_eq!(case.run(&action), Ok(true));

    assert!(case.tree().is_empty());
    case.undo();
    assert_eq!(case.read("f"), "mine");
}

#[test]
fn a_link_to_a_system_directory_does_not_let_remove_through() {
    let case = Case::new();
    symlink("/", case.dir().join("root")).unwrap();

    let failure = case.fails(&removed(&case.at("root/etc")));

    assert!(failure.message.contains("/etc"), "{failure}");
}

#[test]
fn directories_are_made_with_their_parents_and_removed_while_empty() {
    let case = Case::new();
    let path = case.at("a/b/c");
    let action =
        MakeDir { path: path.clone(), mode: Some("0700".to_owned()), owner: None, parents: true };
    let lane = case.bench.lane(Mode::Run);

    assert_eq!(perform(&lane, None, &action), Ok(true));
    assert_eq!(perform(&lane, None, &action), Ok(false));

    assert_eq!(case.tree(), ["a/ 755", "a/b/ 755", "a/b/c/ 700"]);
    case.file("a/kept", "1");
    assert_eq!(case.undo(), (1, vec![]));
    assert_eq!(case.tree(), ["a/ 755", "a/kept 644 1"]);
    let warned =
        |what| matches!(what, What::Warning { text } if text.contains("not empty any more"));
    assert!(case.bench.events().into_iter().any(warned));
}

#[test]
fn reading_has_a_limit_and_knows_text() {
    let case = Case::new();
    let path = case.file("f", "ä\n");
    let lane = case.bench.lane(Mode::Run);
    let read = |max| query(&lane, None, ReadFile { path: path.clone(), max });

    assert_eq!(read(3), Ok("ä\n".to_owned()));
    let Err(Halt::Failure(failure)) = read(2) else { panic!() };
    assert_eq!((failure.kind, failure.hint.is_some()), (Kind::Input, true));
    fs::write(path.as_str(), b"a\xff").unwrap();
    let Err(Halt::Failure(failure)) = read(10) else { panic!() };
    assert!(failure.message.contains("not UTF-8 text at byte 1"), "{failure}");
    let Err(Halt::Failure(failure)) =
        query(&lane, None, ReadFile { path: case.at("none"), max: 9 })
    else {
        panic!()
    };
    assert_eq!(failure.kind, Kind::NotFound);
    assert_eq!(query(&lane, None, Exists { path: case.at("none") }), Ok(false));
    let info = query(&lane, None, FileInfo { path }).unwrap();
    assert_eq!((info["type"].as_str(), info["size"].as_u64()), (Some("file"), Some(2)));
}

#[test]
fn a_digest_of_a_directory_sees_each_difference() {
    let case = Case::new();
    case.file("d/a b", "1");
    case.file("d/sub/c", "2");
    case.file("d/log/x.log", "3");
    symlink("c", case.dir().join("d/sub/l")).unwrap();
    let lane = case.bench.lane(Mode::Run);
    let digest = |exclude: &[&str]| {
        let exclude = exclude.iter().map(|glob| (*glob).to_owned()).collect();
        query(&lane, None, Checksum { path: case.at("d"), exclude }).unwrap()
    };
    let mut seen = vec![digest(&[])];
    for change in [
        "echo 9 >'d/a b'",
        "chmod 600 'd/a b'",
        "mv d/sub/c d/sub/e",
        "ln -sfn e d/sub/l",
        "mkdir d/empty",
    ] {
        case.sh(change);
        let now = digest(&[]);
        assert!(!seen.contains(&now), "{change}");
        seen.push(now);
    }
    let without = [digest(&["*.log"]), digest(&["log/x.log"]), digest(&["log"])];
    case.sh("echo more >>d/log/x.log");
    assert_eq!([digest(&["*.log"]), digest(&["log/x.log"]), digest(&["log"])], without);
    assert_ne!(&digest(&[]), seen.last().unwrap());
}

fn unpacking(case: &Case, archive: &str) -> Unpack {
    Unpack {
        archive: case.at(archive),
        directory: case.at("home"),
        exclude: Vec::new(),
        strip: 0,
        owner: None,
        any_links: false,
    }
}

/// A home with an old version, and archives of a new one in every format.
fn package() -> Case {
    let case = Case::new();
    case.sh(
        "mkdir -p home/conf home/bin new/conf new/bin new/lib/deep
        echo old >home/bin/run; chmod 750 home/bin; echo mine >home/conf/site.xml; echo keep >home/data
        ln -s bin/run home/link
        echo new >new/bin/run; chmod 755 new/bin/run; echo theirs >new/conf/site.xml; echo lib >'new/lib/deep/a b'
        echo x >new/link; ln -s deep/nothing new/lib/l
        tar -C new -cf p.tar .; gzip -k p.tar; bzip2 -k p.tar; xz -k p.tar
        (cd new && zip -qry ../p.zip .); rm -rf new",
    );
    case
}

#[test]
fn every_format_is_unpacked_and_undone_exactly() {
    for archive in ["p.tar", "p.tar.gz", "p.tar.bz2", "p.tar.xz", "p.zip"] {
        let case = package();
        let before = case.tree();
        let mut action = unpacking(&case, archive);
        action.exclude = vec!["./conf/*".to_owned(), "conf/*".to_owned()];

        let output = case.run(&action).unwrap();

        assert_eq!((output.replaced, output.new), (2, 4), "{archive}");
        assert_eq!(case.read("home/bin/run"), "new\n");
        assert_eq!(case.read("home/conf/site.xml"), "mine\n");
        assert_eq!(case.read("home/lib/deep/a b"), "lib\n");
        assert!(case.tree().contains(&"home/bin/ 750".to_owned()), "{archive}");
        assert_eq!(case.undo(), (1, vec![]), "{archive}");
        assert_eq!(case.tree(), before, "{archive}");
        assert_eq!(case.clean(), Some(0));
        assert!(!case.spool().exists());
    }
}

#[test]
fn unpacking_that_was_killed_goes_on_and_is_still_undone_exactly() {
    // In the middle of the extraction; before the lists stand; after the end, before it was told.
    for (at, instead) in [
        (
            r#"through "$a" tar -xf - "$@" || exit 1"#,
            r#"through "$a" tar -xf - "$@" ./bin ./lib; kill -9 $$"#,
        ),
        (r#": >"$k.ready" || exit"#, "kill -9 $$"),
        (r#": >"$k.done" || exit"#, r#": >"$k.done"; kill -9 $$"#),
    ] {
        let case = package();
        let before = case.tree();
        let action = unpacking(&case, "p.tar.gz");
        let twin = action.clone();
        assert!(unpack::UNPACK.contains(at));
        interrupt(&case, action.clone(), move |cx, before| {
            let script = unpack::UNPACK.replace(at, instead);
            let ended = shell::change(cx, &script, twin.arguments(before), b"");
            assert!(ended.is_err());
            Ok(())
        });

        case.run(&action).unwrap();

        assert_eq!(case.read("home/bin/run"), "new\n");
        assert_eq!(case.read("home/lib/deep/a b"), "lib\n");
        assert_eq!(case.undo(), (1, vec![]));
        assert_eq!(case.tree(), before, "{at}");
    }
}

#[test]
fn unpacking_that_was_killed_is_undone_without_going_on() {
    let case = package();
    let before = case.tree();
    let action = unpacking(&case, "p.tar");
    let twin = action.clone();
    interrupt(&case, action, move |cx, before| {
        let (at, instead) = (r#"tar -xf - "$@" || exit 1"#, r#"tar -xf - "$@" ./bin; kill -9 $$"#);
        let script = unpack::UNPACK.replace(at, instead);
        assert!(shell::change(cx, &script, twin.arguments(before), b"").is_err());
        Ok(())
    });
    assert_ne!(case.tree(), before);

    assert_eq!(case.undo(), (1, vec![]));

    assert_eq!(case.tree(), before);
}

#[test]
fn what_a_package_may_not_hold_is_refused_before_anything_changes() {
    for (make, why) in [
        ("echo hello >p", "it is no archive"),
        (": >p", "empty file"),
        ("head -c 200 p.tar.gz >p", "damaged"),
        ("tar -C home -cPf p --transform 's|^|../|' data", "`..`"),
        ("tar -cPf p \"$PWD/home/data\"", "absolute"),
        ("ln -s ../../etc home/l; tar -C home -cf p l; rm home/l", "leads out"),
        ("mkfifo home/f; tar -C home -cf p f; rm home/f", "device"),
        ("ln -s /etc home/l; (cd home && zip -qy ../p.zip l); mv p.zip p; rm home/l", "leads out"),
        ("mkdir -p n/data; tar -C n -cf p .; rm -r n", "directory where a file is"),
        ("mkdir n; echo >n/bin; tar -C n -cf p .; rm -r n", "file where a directory is"),
    ] {
        let case = package();
        case.sh(make);
        let before = case.tree();

        let failure = case.fails(&unpacking(&case, "p"));

        assert!(failure.message.contains(why), "{make}: {failure:?}");
        assert_eq!(case.tree(), before);
    }
}

#[test]
fn leading_parts_are_stripped_and_links_to_directories_stay() {
    let case = package();
    case.sh("mkdir -p elsewhere top/obs/user; echo u >top/obs/user/new; echo r >top/obs/run; tar -cf p top; rm -r top; ln -s ../elsewhere home/user");
    let before = case.tree();
    let action = Unpack { strip: 2, ..unpacking(&case, "p") };

    case.run(&action).unwrap();

    assert_eq!(case.read("elsewhere/new"), "u\n");
    assert_eq!(case.read("home/run"), "r\n");
    assert!(case.dir().join("home/user").is_symlink());
    assert_eq!(case.undo(), (1, vec![]));
    assert_eq!(case.tree(), before);
}

#[test]
fn a_dry_run_tells_an_archive_that_is_none_and_changes_nothing() {
    let case = package();
    case.sh("truncate -s -20 p.tar.xz; echo rubbish >none");
    let before = case.tree();
    let lane = case.bench.lane(Mode::Run);
    let dry = |archive| query(&lane, None, UnpackDry(unpacking(&case, archive)));

    assert_eq!(dry("p.tar.gz").unwrap().replaced, 3);
    assert!(dry("p.tar.xz").unwrap_err().to_string().contains("damaged"));
    assert!(dry("none").unwrap_err().to_string().contains("it is no archive"));

    assert_eq!(case.tree(), before);
    assert!(!case.spool().exists());
}

#[test]
fn plan_lists_the_archive_and_unpacks_nothing() {
    let case = package();
    let before = case.tree();

    perform(&case.bench.lane(Mode::Plan), None, &unpacking(&case, "p.tar.gz")).unwrap();

    assert_eq!(case.tree(), before);
    assert!(!case.spool().exists());
    let shown = planned(&case);
    assert_eq!(shown[1], "replaces 3 files, adds 4 entries");
    assert!(shown.contains(&"replaces bin/run".to_owned()), "{shown:?}");
}
