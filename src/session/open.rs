//! The session and what is asked of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::chosen;
use super::config::{Config, Environment};
use super::drive::{Back, Direction, Ended, drive, foresee};
use super::error::SessionError;
use super::pause::Ear;
use super::secrets::PromptSecret;
use super::{interactive, prepare};
use crate::effect::{Asker, Chosen, Mode};
use crate::event::{Event, Status};
use crate::journal::{Body, DebtRow, Inverse, Record, RunInfo, Source, Sqlite, Store, SwitchRow};
use crate::primitives::{self, RollingOptions};
use crate::script::{self, Problem, Runbook, ScriptError};
use crate::transport::Cancel;

/// The script of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A file.
    File(PathBuf),
    /// Code given on the command line or by an embedding program.
    Code(String),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The script.
    pub text: Text,
    /// The targets; if none, those that the runbook or the configuration name, else this machine.
    pub on: Option<String>,
    /// Of these targets, only those that this selector stands for.
    pub limit: Option<String>,
    /// Parameters.
    pub set: Vec<(String, String)>,
    /// Whether questions with a safe default are answered by it.
    pub yes: bool,
    /// Whether waits of days are sat out.
    pub stay: bool,
    /// What an interrupt leads to when nobody can be asked; the configuration's if none.
    pub on_interrupt: Option<super::OnInterrupt>,
    /// On resuming, which items of a stopped `rolling` go on.
    pub chosen: Chosen,
    /// How several targets go in waves; what is not said here, the runbook says, or it is as usual.
    pub rolling: RollingOptions,
    /// Whether targets that other runs hold are taken from them.
    pub take_over: bool,
}

impl Order {
    /// Makes an order for a script, with nothing else said.
    pub fn new(text: Text) -> Self {
        Self {
            text,
            on: None,
            limit: None,
            set: Vec::new(),
            yes: false,
            stay: false,
            on_interrupt: None,
            chosen: Chosen::default(),
            rolling: RollingOptions::default(),
            take_over: false,
        }
    }
}

/// Who listens to a run, answers its questions and may cancel it.
#[derive(Clone)]
pub struct Voice {
    /// Gets every event.
    pub events: Arc<dyn Fn(Event) + Send + Sync>,
    /// Answers questions.
    pub asker: Arc<dyn Asker>,
    /// Answers for secrets.
    pub prompt: Arc<dyn PromptSecret>,
    /// Cancels.
    pub cancel: Cancel,
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("asker", &self.asker).finish_non_exhaustive()
    }
}

/// The configuration and the journal.
pub struct Session {
    pub(super) environment: Environment,
    pub(super) config: Config,
    pub(super) store: Arc<Sqlite>,
    state: PathBuf,
    /// The configuration with what its inventories list, once that was asked for.
    complete: OnceLock<Config>,
    reading: Mutex<()>,
    warn: Warn,
}

/// Gets what is not wrong with a configuration, but unsafe or left out.
type Warn = Box<dyn Fn(&str) + Send + Sync>;

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Session {
    /// Reads the configuration and opens the journal.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn open(
        environment: Environment,
        config: Option<&Path>,
        state: Option<&Path>,
    ) -> Result<Self, SessionError> {
        let config = Config::load(config, &environment)?;
        let state = state
            .map(Path::to_path_buf)
            .or_else(|| environment.var("UPGRADE_HOST_STATE").map(PathBuf::from))
            .or_else(|| config.defaults.state.clone())
            .or_else(|| default_state(&environment))
            .ok_or(SessionError::NoState)?;
        let store = Arc::new(Sqlite::open(&state)?);
        let (complete, warn) = (OnceLock::new(), Box::new(|_: &str| {}));
        let reading = Mutex::default();
        Ok(Self { environment, config, store, state, complete, reading, warn })
    }

    /// Tells `warn` what is not wrong with the configuration, but unsafe, and later what its inventories leave out.
    #[must_use]
    pub fn warned_by(mut self, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.config.warnings.iter().for_each(|warning| warn(warning));
        self.warn = Box::new(warn);
        self
    }

    /// Returns the configuration, without the targets that its inventories list.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the configuration with the targets that its inventories list. They are read when this is first asked for,
    /// once in a session.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn complete(&self, cancel: &Cancel) -> Result<&Config, SessionError> {
        if !self.config.has_inventories() {
            return Ok(&self.config);
        }
        // Whoever comes second waits for the answer of the first.
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.complete.get() {
            return Ok(known);
        }
        let config = self.config.complete(&self.environment, cancel)?;
        config.warnings.iter().for_each(|warning| (self.warn)(warning));
        Ok(self.complete.get_or_init(|| config))
    }

    /// Returns the directory of the journal.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Returns the surroundings.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Compiles and checks a script without running it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(text: &Text) -> Result<Runbook, SessionError> {
        let runbook = compile(text)?;
        let engine = script::build(None)?;
        let problems: Vec<Problem> = script::check(&engine, &runbook);
        if problems.is_empty() { Ok(runbook) } else { Err(SessionError::Script(problems)) }
    }

    /// Finds what is not wrong with a script, but hardly meant.
    ///
    /// # Errors
    /// If the engine cannot be made.
    pub fn warnings(runbook: &Runbook) -> Result<Vec<Problem>, SessionError> {
        Ok(script::lost_writes(&script::build(None)?, runbook))
    }

    /// Runs an order to its end or pause.
    ///
    /// # Errors
    /// Why it could not begin; nothing was done then.
    pub fn run(&self, order: &Order, voice: &Voice) -> Result<Ended, SessionError> {
        let runbook = Self::load(&order.text)?;
        let mut setup = prepare::fresh(self, order, runbook, voice, Mode::Run)?;
        prepare::waves_are_meant(self, order, Some(&setup))?;
        prepare::reach(&setup)?;
        setup.store = Some(self.store.clone());
        let _hold = self.store.hold(&setup.info.id)?;
        self.store.create(&setup.info)?;
        let _ear = Ear::new(self.store.clone(), &setup.info.id, &voice.cancel);
        Ok(drive(&setup, Direction::Forward)?)
    }

    /// Says what an order would do, reading for real and changing nothing. Leaves no trace in the journal.
    ///
    /// # Errors
    /// Why it could not begin.
    pub fn plan(&self, order: &Order, voice: &Voice) -> Result<Ended, SessionError> {
        let runbook = Self::load(&order.text)?;
        let setup = prepare::fresh(self, order, runbook, voice, Mode::Plan)?;
        prepare::waves_are_meant(self, order, Some(&setup))?;
        prepare::reach(&setup)?;
        Ok(drive(&setup, Direction::Forward)?)
    }

    /// Takes a run up where it stopped; one that was being undone is undone further.
    ///
    /// # Errors
    /// Why it cannot be taken up.
    pub fn resume(
        &self,
        name: &str,
        order: &Order,
        accept_change: bool,
        voice: &Voice,
    ) -> Result<Ended, SessionError> {
        let run = self.store.find(name)?;
        let _hold = self.store.hold(&run.id)?;
        let _ear = Ear::new(self.store.clone(), &run.id, &voice.cancel);
        // Read again under the lock: another process may have ended it meanwhile.
        let mut run = self.store.find(&run.id)?;
        let records = self.store.records(&run.id)?;
        let undoing = undoing(&records);
        let typed = interactive::recorded(&run);
        if typed.is_some() && undoing.is_none() {
            return Err(SessionError::Typed { run: run.id });
        }
        if !matches!(run.status, Status::Running | Status::Paused | Status::Unknown) {
            return Err(SessionError::Over { run: run.id, status: run.status.as_str() });
        }
        chosen::check(&run.id, &records, &order.chosen)?;
        if let Some(sources) = changed_sources(&run, accept_change || undoing.is_some())? {
            self.store.set_sources(&run.id, &sources)?;
            run.sources = sources;
        }
        let mut setup = prepare::recorded(self, run, order, voice, Mode::Run)?;
        setup.accept_change |= accept_change;
        setup.store = Some(self.store.clone());
        setup.word = "resume";
        self.take_up(&setup.info)?;
        Ok(drive(&setup, undoing.unwrap_or(Direction::Forward))?)
    }

    /// Undoes what a run did, newest first, also days later.
    ///
    /// # Errors
    /// Why it cannot be undone.
    pub fn rollback(
        &self,
        name: &str,
        order: &Order,
        voice: &Voice,
    ) -> Result<Ended, SessionError> {
        let run = self.store.find(name)?;
        let _hold = self.store.hold(&run.id)?;
        let _ear = Ear::new(self.store.clone(), &run.id, &voice.cancel);
        let run = self.to_undo(&run.id)?;
        let mut setup = prepare::recorded(self, run, order, voice, Mode::Run)?;
        setup.store = Some(self.store.clone());
        setup.word = "rollback";
        self.take_up(&setup.info)?;
        let why = "asked for by the operator".to_owned();
        Ok(drive(&setup, Direction::Back(Back { why, failure: None, asked: true }))?)
    }

    /// Says what undoing a run would do, newest first, and what somebody changed since that it would meet. Reads for real
    /// and changes nothing, not even the journal.
    ///
    /// # Errors
    /// Why it cannot be undone.
    pub fn plan_rollback(
        &self,
        name: &str,
        order: &Order,
        voice: &Voice,
    ) -> Result<Ended, SessionError> {
        let run = self.to_undo(name)?;
        let mut setup = prepare::recorded(self, run, order, voice, Mode::Plan)?;
        setup.store = Some(self.store.clone());
        setup.word = "rollback plan";
        Ok(foresee(&mut setup)?)
    }

    /// Finds a run that can be undone.
    fn to_undo(&self, name: &str) -> Result<RunInfo, SessionError> {
        let run = self.store.find(name)?;
        if run.status == Status::RolledBack {
            return Err(SessionError::Over { run: run.id, status: run.status.as_str() });
        }
        // Half of a way back would be worse than none.
        match gone(&self.store.records(&run.id)?) {
            Some(what) => Err(SessionError::Gone { run: run.id, what }),
            None => Ok(run),
        }
    }

    fn take_up(&self, run: &RunInfo) -> Result<(), SessionError> {
        let body = Body::Resumed { pid: std::process::id() };
        Ok(self.store.turn(&run.id, body, Status::Running, None)?)
    }

    /// Returns the journal.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns all runs, newest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn runs(&self) -> Result<Vec<RunInfo>, SessionError> {
        Ok(self.store.runs()?)
    }

    /// Returns what is owed over all runs.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn debts(&self) -> Result<Vec<DebtRow>, SessionError> {
        Ok(self.store.debts()?)
    }

    /// Returns the dead-man switches that may be armed, over all runs, the one that fires first at the top.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn switches(&self) -> Result<Vec<SwitchRow>, SessionError> {
        Ok(self.store.switches()?)
    }

    /// Returns a run and its records.
    ///
    /// # Errors
    /// If there is no such run, or the journal cannot be read.
    pub fn show(&self, name: &str) -> Result<(RunInfo, Vec<Record>), SessionError> {
        let run = self.store.find(name)?;
        let records = self.store.records(&run.id)?;
        Ok((run, records))
    }
}

fn compile(text: &Text) -> Result<Runbook, ScriptError> {
    let engine = script::build(None)?;
    match text {
        Text::File(path) => Runbook::load(&engine, path),
        Text::Code(code) => {
            Runbook::compile(&engine, "-e".to_owned(), code.clone(), &mut |module| {
                Err(format!("code given with -e cannot import `{module}`; write a file"))
            })
        }
    }
}

fn default_state(environment: &Environment) -> Option<PathBuf> {
    if environment.uid == 0 {
        return Some(PathBuf::from("/var/lib/upgrade-host"));
    }
    let base = match environment
        .var("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
    {
        Some(dir) => dir,
        None => environment.home()?.join(".local/state"),
    };
    Some(base.join("upgrade-host"))
}

/// The way back, if the run was on it when it stopped.
pub(super) fn undoing(records: &[Record]) -> Option<Direction> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::UndoBegan { why, failure, asked } => Some(Direction::Back(Back {
            why: why.clone(),
            failure: failure.clone().map(Box::new),
            asked: *asked,
        })),
        _ => None,
    })
}

/// What of a run that is through could not be taken back any more, because what it kept for that is removed.
fn gone(records: &[Record]) -> Option<String> {
    records.iter().find(|record| record.body == Body::Closing)?;
    records.iter().rev().find_map(|record| match &record.body {
        Body::Intent { summary, inverse: Inverse::Action { name, action, .. }, .. }
            if primitives::needs_kept(name, action) =>
        {
            Some(summary.clone())
        }
        _ => None,
    })
}

/// Compares the recorded sources with the files as they are now. Returns the new ones if they differ and that is accepted.
fn changed_sources(run: &RunInfo, accept: bool) -> Result<Option<Vec<Source>>, SessionError> {
    let mut now = Vec::new();
    let mut changed = None;
    for source in &run.sources {
        // A file that is gone, and code that never was one, is taken from the record.
        let text = if source.name == "-e" || source.name.starts_with('<') {
            None
        } else {
            fs::read_to_string(&source.name).ok()
        };
        let text = text.unwrap_or_else(|| source.text.clone());
        if text != source.text && changed.is_none() {
            let diff = similar::TextDiff::from_lines(&source.text, &text);
            let diff = diff
                .unified_diff()
                .context_radius(2)
                .header("as recorded", "as it is now")
                .to_string();
            changed = Some((PathBuf::from(&source.name), diff));
        }
        now.push(Source { name: source.name.clone(), text });
    }
    match changed {
        None => Ok(None),
        Some(_) if accept => Ok(Some(now)),
        Some((path, diff)) => Err(SessionError::Changed { run: run.id.clone(), path, diff }),
    }
}
