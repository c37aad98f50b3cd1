//! A copy between the machine that upgrade-host runs on and the target: rsync here and rsync there, joined by a channel of
//! the session that there is. What is run there is checked, not taken as rsync says it.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::output::Able;
use super::sides::Side;
use crate::effect::Cx;
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::transport::rsh::{Caller, Door};
use crate::transport::{Command, Exit, Local, Stream, Transport as _, TransportError, Watch};

/// The name that the machine which upgrade-host runs on has as a target.
pub(super) const THIS_MACHINE: &str = "local";
/// The first version of rsync that is asked to take part on either side.
const OLDEST: (u64, u64) = (3, 0);
/// What else carries a tree.
pub(super) const WITHOUT: &str = "`upload` and `download` carry directories without it.";
/// How rsync here is told of the other machine; which it is, we know.
const HOST: &str = "target";

fn here(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(
        Kind::Conflict,
        format!("on the machine that upgrade-host runs on: {what}: {error}"),
    )
}

/// Returns what both can do: what is printed, as the rsync here does; what is kept, as long as both keep it.
pub(super) fn able(cx: &Cx<'_>, there: &Able) -> Result<Able> {
    const KEY: &str = "rsync of both";
    let cache = || cx.target.cache.lock().unwrap_or_else(PoisonError::into_inner);
    let known = cache().get(KEY).cloned();
    if let Some(able) = known.and_then(|value| serde_json::from_value(value).ok()) {
        return Ok(able);
    }
    let version = Command::list(["rsync", "--version"]).reading();
    let exit = run_here(cx, &version, &mut |_, _| {})?;
    if !exit.success() {
        return Err(Failure::new(
            Kind::NotFound,
            "rsync is not installed on the machine that upgrade-host runs on",
        )
        .with_hint(format!("Install the package `rsync` here. {WITHOUT}"))
        .into());
    }
    let here = Able::read(&exit.out());
    for (able, whose) in
        [(&here, "the machine that upgrade-host runs on"), (there, &*cx.target.name)]
    {
        if able.version < OLDEST {
            let (major, minor) = able.version;
            let message =
                format!("the rsync of {whose} is too old: {major}.{minor}, expected 3.0 or newer");
            return Err(Failure::new(Kind::Input, message)
                .with_hint(format!("Install a newer one there. {WITHOUT}"))
                .into());
        }
    }
    let both = Able {
        version: here.version,
        acls: here.acls && there.acls,
        xattrs: here.xattrs && there.xattrs,
        hardlinks: here.hardlinks && there.hardlinks,
    };
    if let Ok(value) = serde_json::to_value(&both) {
        cache().insert(KEY.to_owned(), value);
    }
    Ok(both)
}

/// Returns the sources here that are not there.
pub(super) fn missing(from: &[Side]) -> Vec<String> {
    let here = from.iter().filter(|side| side.is_here());
    let gone = here.filter(|side| fs::symlink_metadata(side.as_str()).is_err());
    gone.map(Side::to_string).collect()
}

/// Makes a directory here, with those on the way to it.
pub(super) fn make(dir: &str) -> Result<()> {
    if dir.is_empty() || Path::new(dir).is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|error| here(dir, error).into())
}

/// Runs a command on the machine that upgrade-host runs on.
fn run_here(cx: &Cx<'_>, command: &Command, watch: Watch<'_>) -> Result<Exit> {
    Local.exec(command, &cx.lane.run().cancel, watch).map_err(|error| match error {
        TransportError::Cancelled => Stop::Cancelled.into(),
        TransportError::Timeout { .. } => {
            let mut failure = Failure::new(Kind::Timeout, format!("rsync {error}"));
            failure.command = Some(command.display());
            failure.into()
        }
        error => here("rsync", error).into(),
    })
}

/// Runs rsync once: `words` are those of the one here, up to the sides. Returns its command and its end.
///
/// # Errors
/// What broke the way to the target, or kept either from being run.
pub(super) fn pass(
    cx: &Cx<'_>,
    words: Vec<String>,
    from: &[Side],
    to: &Side,
    timeout: Option<Duration>,
    dry: bool,
    watch: Watch<'_>,
) -> Result<(Command, Exit)> {
    let door = Door::open().map_err(|error| here("the way for rsync cannot be made", error))?;
    let expected = Expected::new(from, to, dry);
    let command = rsync_here(words, from, to, &door).timeout(timeout);
    let over = AtomicBool::new(false);
    let (ended, served) = std::thread::scope(|scope| {
        let other = scope.spawn(|| serve(cx, door, &over, &expected, timeout));
        let ended = run_here(cx, &command, watch);
        over.store(true, Ordering::SeqCst);
        let served = other
            .join()
            .unwrap_or_else(|_| Err(Failure::new(Kind::Unknown, "the way for rsync broke").into()));
        (ended, served)
    });
    match (ended, served) {
        // What ended rsync here ended the one there, too; its own end says less.
        (Err(halt), _) | (Ok(_), Err(halt)) => Err(halt),
        (Ok(exit), Ok(())) => Ok((command, exit)),
    }
}

/// Returns the rsync that runs here.
fn rsync_here(mut words: Vec<String>, from: &[Side], to: &Side, door: &Door) -> Command {
    words.push(format!("--rsh={}", door.rsh()));
    words.push("--".to_owned());
    let side = |side: &Side| {
        let path = side.as_str();
        if side.is_here() { path.to_owned() } else { format!("{HOST}:{path}") }
    };
    words.extend(from.iter().map(side));
    words.push(side(to));
    let mut command = Command::list(words);
    // Quoting is ours to do, in one way for all versions.
    for (name, value) in [("LC_ALL", "C"), ("RSYNC_PROTECT_ARGS", "0"), ("RSYNC_OLD_ARGS", "1")] {
        command.env.push((name.to_owned(), value.to_owned()));
    }
    command.secret_env = door.environment();
    command
}

/// Runs the rsync that the one here asks for, until that has ended.
fn serve(
    cx: &Cx<'_>,
    door: Door,
    over: &AtomicBool,
    expected: &Expected,
    timeout: Option<Duration>,
) -> Result<()> {
    let came = door.wait(&|| over.load(Ordering::SeqCst));
    let Some(mut caller) = came.map_err(|error| here("the way for rsync broke", error))? else {
        return Ok(());
    };
    let result = answer(cx, &mut caller, expected, timeout);
    let status = match &result {
        Ok(exit) => exit.code(),
        Err(_) => 255,
    };
    caller.end(status);
    result.map(drop)
}

fn answer(
    cx: &Cx<'_>,
    caller: &mut Caller,
    expected: &Expected,
    timeout: Option<Duration>,
) -> Result<Exit> {
    let words = expected.check(&caller.words).map_err(|why| {
        caller.say(format!("upgrade-host: {why}\n").as_bytes());
        Halt::from(Failure::input(format!("rsync asks for what it is not to run: {why}")))
    })?;
    let command = Command::list(words).joined(caller.streams.clone()).timeout(timeout);
    let command = if expected.dry { command.reading() } else { command.tied(Duration::ZERO) };
    cx.exec_with(&command, false, &mut |stream, bytes| {
        if stream == Stream::Err {
            caller.say(bytes);
        }
    })
}

/// The one command that the rsync here may ask for.
struct Expected {
    /// Whether the rsync there sends.
    sends: bool,
    /// Whether it changes nothing.
    dry: bool,
    /// The paths there.
    paths: Vec<String>,
}

impl Expected {
    fn new(from: &[Side], to: &Side, dry: bool) -> Self {
        let sends = to.is_here();
        let there = if sends { from } else { std::slice::from_ref(to) };
        Self { sends, dry, paths: there.iter().map(|side| side.as_str().to_owned()).collect() }
    }

    /// Checks `HOST rsync --server [--sender] OPTIONS… . PATHS…`, and returns the command with our own paths in it: rsync
    /// writes theirs as some shell might read them, in a way that its versions differ in.
    ///
    /// # Errors
    /// A fragment that says what it is instead.
    fn check(&self, words: &[String]) -> Result<Vec<String>, String> {
        let unlike = |why: &str| Err(format!("{why}: {}", words.join(" ").escape_debug()));
        let [_host, rsync, server, rest @ ..] = words else {
            return unlike("it is no `rsync --server`");
        };
        if (rsync.as_str(), server.as_str()) != ("rsync", "--server") {
            return unlike("it is no `rsync --server`");
        }
        let end = rest.len().checked_sub(self.paths.len() + 1);
        let Some(end) = end.filter(|end| rest[*end] == ".") else {
            return unlike("its paths are not where they belong");
        };
        let options = &rest[..end];
        if options.iter().any(|option| option == "--sender") != self.sends {
            return unlike("it goes the other way");
        }
        // The letters up to the dot are options, those after it what the versions agree on.
        let letters =
            options.iter().filter(|word| word.starts_with('-') && !word.starts_with("--"));
        let dry = letters.filter_map(|word| word.split('.').next()).any(|word| word.contains('n'));
        if self.dry && !dry {
            return unlike("it is no dry run");
        }
        if let Some(odd) = options.iter().find(|word| word.contains('\\')) {
            return Err(format!(
                "an option that goes to the other side holds a special letter: {odd}"
            ));
        }
        let own = ["rsync", "--server"].map(str::to_owned).into_iter();
        let point = std::iter::once(".".to_owned());
        Ok(own
            .chain(options.iter().cloned())
            .chain(point)
            .chain(self.paths.iter().cloned())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn expected(from: &str, to: &str, dry: bool) -> Expected {
        Expected::new(&[Side::new(from).unwrap()], &Side::new(to).unwrap(), dry)
    }

    #[test]
    fn what_rsync_asks_for_gets_our_own_paths() {
        let push = expected("local:/a/", "/b c/$x", false);
        let asked = words("target rsync --server -logDtpre.iLsfxCIvu --delete . /elsewhere");
        let run = push.check(&asked).unwrap();
        let mut own = words("rsync --server -logDtpre.iLsfxCIvu --delete .");
        own.push("/b c/$x".to_owned());
        assert_eq!(run, own);

        let pull = expected("/b/", "local:/a/", true);
        let asked = words("target rsync --server --sender -nlogDtpre.iLsfxCIvu . /b/");
        assert_eq!(pull.check(&asked).unwrap().last().unwrap(), "/b/");
    }

    #[test]
    fn nothing_else_is_run_on_the_target() {
        let (push, pull) = (expected("local:/a/", "/b", false), expected("/b/", "local:/a", true));
        for (expected, asked, why) in [
            (&push, "target", "no `rsync --server`"),
            (&push, "target rm -rf /", "no `rsync --server`"),
            (&push, "target rsync --daemon . /b", "no `rsync --server`"),
            (&push, "target /tmp/rsync --server -l . /b", "no `rsync --server`"),
            (&push, "target rsync --server", "not where they belong"),
            (&push, "target rsync --server -slogDtpre.iLsfxCIvu", "not where they belong"),
            (&push, "target rsync --server --sender -l . /b", "goes the other way"),
            (&pull, "target rsync --server -n . /b", "goes the other way"),
            (&pull, "target rsync --server --sender -logDtpre.n . /b", "no dry run"),
            (&push, "target rsync --server -l --suffix=a\\b . /b", "special letter"),
        ] {
            let said = expected.check(&words(asked)).unwrap_err();
            assert!(said.contains(why), "{asked}: {said}");
        }
    }
}
