//! Commands with receipts, as actions run them: the connection may break meanwhile, and the call goes on with what it had
//! started once the target is back.

use std::time::{Duration, Instant};

use super::context::{Cx, user_of};
use super::exec::Lines;
use super::lane::Inside;
use crate::error::{Failure, Halt, Kind, Pause, Result, Stop};
use crate::transport::receipt::{self, At, Found, Launched, Seen};
use crate::transport::{Command, Ended, Exit, Fence, Kept, Stream, Sudo};
use crate::units;

/// How often a launcher may die before the command begins until that is taken for a fault.
const VOIDS: u32 = 8;

impl Cx<'_> {
    /// Runs a command of this call that changes something, in a session of its own on the target, with a receipt there;
    /// or goes on with it if it was started already. `attempt` tells the tries of one call apart: it must be on record
    /// before the first of these calls. Output is told line by line; `watch` sees all of it.
    ///
    /// A broken connection is made again, up to the limit of the run.
    ///
    /// # Errors
    /// A failure of kind `unknown` if it was started and what became of it cannot be told; `conflict` if there is no room
    /// for its receipt, and nothing was started; as [`Cx::exec`] otherwise. A status other than 0 is none.
    pub fn detached(
        &self,
        command: &Command,
        attempt: u32,
        watch: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Ended> {
        if self.lane.inside() == Some(Inside::Looking) {
            return Err(Failure::input(format!(
                "`{}` would change the target, but this only looks",
                command.display()
            ))
            .into());
        }
        self.touch_as(command.sudo.as_ref());
        let mut command = self.fence(command);
        let call = self.call.to_string();
        let (mut out, mut err) = (Lines::default(), Lines::default());
        let mut seen = Seen::default();
        let mut void = 0;
        let mut prepared = false;
        let ended = loop {
            let dir = self.again(|| self.receipts(command.sudo.as_ref(), prepared))?;
            let at = At { dir, call: self.receipt_name(&command, attempt, void) };
            let launched = self.again(|| {
                let cancel = &self.lane.run().cancel;
                let mut tell = |stream: Stream, bytes: &[u8]| {
                    watch(stream, bytes);
                    let lines = if stream == Stream::Out { &mut out } else { &mut err };
                    lines.push(bytes, |line| self.tell_line(&call, stream, line));
                };
                receipt::run(&*self.target.transport, &command, &at, &mut seen, cancel, &mut tell)
                    .map_err(|error| self.failed(error, Some(&command)))
            })?;
            match launched {
                Launched::Ended(ended) => break ended,
                Launched::Refused(exit) => {
                    self.passed(&command, &exit)?;
                    watch(Stream::Out, &exit.stdout);
                    watch(Stream::Err, &exit.stderr);
                    break exit.ended;
                }
                Launched::NoDirectory if !prepared => prepared = true,
                Launched::Void if void < VOIDS => void += 1,
                Launched::NoDirectory | Launched::Void => {
                    let message = format!("a receipt cannot be kept in {}", at.dir);
                    return Err(Failure::new(Kind::Conflict, message)
                        .with_target(&self.target.name)
                        .with_hint("Nothing was started. Something removes what is put there.")
                        .into());
                }
                Launched::NoSpace => {
                    let message = format!("there is no room for a receipt in {}", at.dir);
                    return Err(Failure::new(Kind::Conflict, message)
                        .with_target(&self.target.name)
                        .with_hint("Nothing was started. Make room there, then resume the run.")
                        .into());
                }
                Launched::Lost(why) => return Err(self.unknown(&command, &why)),
                // Nothing is started by it any more.
                Launched::Held => {
                    command.fence = command.fence.map(|fence| Fence { boot: None, ..fence });
                }
            }
        };
        out.finish(|line| self.tell_line(&call, Stream::Out, line));
        err.finish(|line| self.tell_line(&call, Stream::Err, line));
        Ok(ended)
    }

    /// As [`Cx::detached`], for a command that may be repeated: goes on with a try of this call that still runs, else
    /// begins a new one. Two never run at once.
    ///
    /// # Errors
    /// As [`Cx::detached`].
    pub fn detached_anew(
        &self,
        command: &Command,
        watch: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Ended> {
        let mut attempt = 1;
        while !matches!(
            self.again(|| self.receipt(command, attempt))?,
            Found::Never | Found::Running
        ) {
            attempt += 1;
        }
        self.detached(command, attempt, watch)
    }

    /// As [`Cx::detached_anew`], returning what was written as well.
    ///
    /// # Errors
    /// As [`Cx::detached`].
    pub fn repeatable(&self, command: &Command) -> Result<Exit> {
        let (mut out, mut err) = (Kept::default(), Kept::default());
        let ended = self.detached_anew(command, &mut |stream, bytes| match stream {
            Stream::Out => out.push(bytes),
            Stream::Err => err.push(bytes),
        })?;
        Ok(Exit { ended, stdout: out.finish(), stderr: err.finish() })
    }

    /// Finds out what became of a command of this call that [`Cx::detached`] may have started.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub fn receipt(&self, command: &Command, attempt: u32) -> Result<Found> {
        let sudo = command.sudo.as_ref();
        let cancel = &self.lane.run().cancel;
        for void in 0..=VOIDS {
            // Without the directory there is no receipt, and it does no harm to make it.
            let dir = self.receipts(sudo, false)?;
            let at = At { dir, call: self.receipt_name(command, attempt, void) };
            let found = receipt::look(&*self.target.transport, &at, sudo.cloned(), cancel)
                .map_err(|error| self.failed(error, None))?;
            if found != Found::Void {
                return Ok(found);
            }
        }
        Ok(Found::Never)
    }

    /// Makes sure that nothing which an earlier process of this run started on the target as this user still runs or begins
    /// any more, but for what takes something back. Done once per process.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub(super) fn quiet_down(&self, sudo: Option<&Sudo>) -> Result<()> {
        self.touch_as(sudo);
        let key = format!("quiet {} {}", self.lane.run().id, user_of(sudo));
        let cache = || self.target.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if cache().contains_key(&key) {
            return Ok(());
        }
        // From here on the fence holds back what was sent before and comes late.
        self.reconnecting(|| self.lock())?;
        self.reconnecting(|| {
            let dir = self.receipts(sudo, false)?;
            let transport = &*self.target.transport;
            receipt::end_all(transport, &dir, sudo.cloned(), "the run is rolled back")
                .map_err(|error| self.failed(error, None))
        })?;
        cache().insert(key, true.into());
        Ok(())
    }

    fn receipt_name(&self, command: &Command, attempt: u32, void: u32) -> String {
        let mut name = self.file_stem();
        if self.is_nested() {
            // Calls inside of an action share their name.
            name = format!("{name}-{}", super::context::stem(&command.display()));
        }
        if self.call.takes_back() {
            name.insert_str(0, "undo-");
        }
        match void {
            0 => format!("{name}-{attempt}"),
            void => format!("{name}-{attempt}.{void}"),
        }
    }

    fn unknown(&self, command: &Command, why: &str) -> Halt {
        let message = format!("it is not known what became of `{}`: {why}", command.display());
        let mut failure = Failure::new(Kind::Unknown, message).with_target(&self.target.name);
        failure.command = Some(command.display());
        failure.into()
    }

    /// Returns the directory of this run's receipts on the target, for one user, made once in each process.
    fn receipts(&self, sudo: Option<&Sudo>, anew: bool) -> Result<String> {
        let key = format!("receipts {} {}", self.lane.run().id, user_of(sudo));
        let cache = || self.target.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !anew && let Some(dir) = cache().get(&key).and_then(serde_json::Value::as_str) {
            return Ok(dir.to_owned());
        }
        let run = self.lane.run();
        let made = receipt::prepare(&*self.target.transport, &run.id, sudo.cloned(), &run.cancel)
            .map_err(|error| self.failed(error, None))?;
        match made {
            Ok(dir) => {
                cache().insert(key, dir.clone().into());
                Ok(dir)
            }
            Err(exit) => {
                let command = Command::list(["prepare", "receipts"]);
                let mut failure = self.exit_failure(&command, &exit);
                failure.message = format!("receipts cannot be kept there: {}", failure.message);
                failure.command = None;
                Err(failure.into())
            }
        }
    }

    /// Repeats what goes on where it was while the way to the target is broken, up to the run's limit.
    fn again<T>(&self, mut body: impl FnMut() -> Result<T>) -> Result<T> {
        let limit = self.lane.run().reconnect;
        let mut since: Option<Instant> = None;
        let mut pause = Duration::from_millis(500);
        loop {
            let failure = match body() {
                Err(Halt::Failure(failure)) if failure.lost => failure,
                result => return result,
            };
            let first = since.is_none();
            let began = *since.get_or_insert_with(Instant::now);
            if first {
                let limit = units::say_duration(limit);
                self.warn(format!("{failure}; trying for {limit} to find it again"));
            }
            if began.elapsed() >= limit {
                let why = format!("{failure}; gave up after {}", units::say_duration(limit));
                return Err(Stop::Paused(Pause { why, until: None, unknown: false }).into());
            }
            self.sleep(pause)?;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }
}
