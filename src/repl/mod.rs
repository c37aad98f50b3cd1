//! The REPL: a prompt at which every line is an action like any other, in a run of its own.

mod complete;
mod context;
mod docs;
mod editor;
mod hint;
mod incomplete;
mod known;
mod leave;
mod lex;
mod meta;
mod paint;
mod told;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use self::editor::{Prompt, Read};
use self::known::Known;
use self::leave::Signals;
use crate::cli::exit::Exit;
use crate::cli::ui::Ui;
use crate::cli::{Common, fail, hosts, run};
use crate::effect::{Asker, Question};
use crate::error::{Failure, Halt, Stop};
use crate::event::{CallEnd, What};
use crate::report::{Line, Tone, diagnostic, table};
use crate::script::{self, Probe, Runbook, reference};
use crate::session::inventory::Inventory;
use crate::session::{
    Choice, Interactive, Leave, NAME, Reach, Session, SessionError, Text, Transcript, Voice,
};
use crate::transport::Cancel;

/// How many lines `:history` shows, and `:runs` runs.
const NEWEST: usize = 20;

/// Opens the REPL.
pub(crate) fn repl(ui: &Ui, common: &Common) -> Exit {
    if common.json {
        let hint = "Programs run `upgrade-host -e CODE --json`.";
        return fail::say(
            ui,
            &SessionError::Failure(Box::new(
                Failure::input("the REPL is for people and has no JSON").with_hint(hint),
            )),
        );
    }
    match open(ui, common) {
        Ok(exit) => exit,
        Err(error) => fail::say(ui, &error),
    }
}

fn open(ui: &Ui, common: &Common) -> Result<Exit, SessionError> {
    let store = run::session(ui, common)?;
    let stopped = Arc::new(AtomicBool::new(false));
    let voice = voice(ui, &stopped);
    let order = run::order(common, Text::Code(String::new()));
    let session = store.interactive(&order, &voice)?;
    let inventory = Inventory::new(store.complete(&voice.cancel)?, told::nothing(), true);
    let mut known = Known::of(&inventory);
    for target in session.targets() {
        if !known.targets.contains(target) {
            known.targets.push(target.clone());
        }
    }
    let style = ui.style();
    let history = store.state().join("history");
    let prompt = Prompt::open(&history, known, Probe::new()?, style)
        .map_err(|error| Failure::input(format!("the prompt cannot be opened: {error}")))
        .map_err(|failure| SessionError::Failure(Box::new(failure)))?;
    let sources = sources(session.transcript());
    ui.set_sources(sources.clone());
    let signals = Signals::listen();
    let mut repl = Repl {
        ui,
        store: &store,
        prompt,
        cancel: voice.cancel.clone(),
        sources: Arc::new(sources),
        signals,
        stopped,
        good: true,
    };
    repl.banner(&session);
    repl.run(session)
}

/// The operator at this terminal. The run's beginnings and its plain end are not told: the prompt says it all.
fn voice(ui: &Ui, stopped: &Arc<AtomicBool>) -> Voice {
    let voice = run::voice(ui);
    let (tell, quiet) = (Arc::clone(&voice.events), ui.clone());
    let stopped = Arc::clone(stopped);
    let events = move |event: crate::event::Event| {
        if let What::CallEnded { end: CallEnd::Stopped(_), .. } = &event.what {
            stopped.store(true, Ordering::SeqCst);
        }
        let plain = match &event.what {
            What::RunBegan { .. } => true,
            What::RunEnded { status, debts, .. } => told::is_plain(*status, debts),
            _ => false,
        };
        if plain { quiet.hear(&event) } else { tell(event) }
    };
    Voice { events: Arc::new(events), ..voice }
}

/// Finds the texts that failures point into.
fn sources(
    transcript: Transcript,
) -> impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static {
    move |name| {
        if name == NAME {
            return Some(transcript.text());
        }
        let library = script::library().iter().find(|file| file.name == name);
        library.map(|file| file.text.to_owned())
    }
}

type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

struct Repl<'a> {
    ui: &'a Ui,
    store: &'a Session,
    prompt: Prompt,
    cancel: Cancel,
    sources: Lookup,
    signals: Signals,
    /// Whether a call has said that it was interrupted.
    stopped: Arc<AtomicBool>,
    /// Whether the last line went well.
    good: bool,
}

/// What comes after a line.
enum Next {
    Prompt,
    Leave,
    /// The journal failed: nothing more is done.
    End(Stop),
}

impl Repl<'_> {
    fn banner(&self, session: &Interactive) {
        let dot = if self.ui.style().unicode { " · " } else { " - " };
        let version = format!("upgrade-host {}", env!("CARGO_PKG_VERSION"));
        let mut first = Line::new().with(Tone::Strong, version).with(Tone::Dim, dot);
        first = match session.targets() {
            [only] => first.with(Tone::Plain, format!("acts on {only}")),
            all => first
                .with(Tone::Plain, format!("targets {}", all.join(", ")))
                .with(Tone::Dim, dot)
                .with(Tone::Plain, format!("acts on {}, :on changes that", session.target())),
        };
        let mut lines = vec![first];
        let owed = self.store.debts().map_or(0, |debts| debts.len());
        if owed > 0 {
            let things =
                if owed == 1 { "1 thing is".to_owned() } else { format!("{owed} things are") };
            lines.push(
                Line::new()
                    .with(Tone::Warn, format!("{things} owed"))
                    .with(Tone::Plain, " by runs before; :debts lists what"),
            );
        }
        lines.push(Line::new().with(Tone::Dim, "Tab completes, :help helps, Ctrl-D leaves"));
        self.ui.lines(&lines);
    }

    fn run(&mut self, mut session: Interactive) -> Result<Exit, SessionError> {
        // Without a terminal, an end that nobody can be asked about must not be asked for ever.
        let mut refusals = 0;
        loop {
            if let Some(known) = self.prompt.known() {
                known.refresh(&session);
            }
            let read = self.read(&session);
            let next = match read {
                Read::Cleared => Next::Prompt,
                Read::Left => Next::Leave,
                Read::Line(line) => self.line(&mut session, line.trim()),
            };
            if self.signals.arrived() {
                return self.end(session, Leave::Keep);
            }
            match next {
                Next::Prompt => refusals = 0,
                Next::End(stop) => {
                    self.say(&Failure::input(stop.to_string()));
                    return Ok(Exit::of_stop(&stop));
                }
                Next::Leave => match leave::ask(self.ui, &session, refusals) {
                    Some(how) => {
                        self.cancel.reset();
                        return self.end(session, how);
                    }
                    None => refusals += 1,
                },
            }
        }
    }

    fn read(&mut self, session: &Interactive) -> Read {
        let style = self.ui.style();
        let target = session.target();
        let arrow = if style.unicode { "❯" } else { ">" };
        let plain = format!("{target} {arrow} ");
        let styled = if style.color {
            let name = Line::new().with(Tone::Strong, &target).render(true);
            let tone = match (self.good, session.debts().is_empty()) {
                (false, _) => Tone::Bad,
                (true, false) => Tone::Warn,
                (true, true) => Tone::Info,
            };
            format!("{name} {} ", Line::new().with(tone, arrow).render(true))
        } else {
            plain.clone()
        };
        let _reading = self.signals.reading();
        self.prompt.read(&plain, &styled)
    }

    fn line(&mut self, session: &mut Interactive, line: &str) -> Next {
        if line.is_empty() {
            return Next::Prompt;
        }
        self.cancel.reset();
        if let Some((name, argument)) = meta::parse(line) {
            return self.meta(session, name, argument);
        }
        // Whoever types these as in a shell is understood, unless they are names of the session.
        if let "help" | "exit" | "quit" = line
            && !session.script().variables().iter().any(|name| name == line)
        {
            return self.meta(session, line, "");
        }
        self.evaluate(session, line)
    }

    fn evaluate(&mut self, session: &mut Interactive, text: &str) -> Next {
        self.good = false;
        if !self.is_sound(session, text) {
            return Next::Prompt;
        }
        let before = session.unsettled();
        self.stopped.store(false, Ordering::SeqCst);
        match session.evaluate(text) {
            Ok(value) => {
                self.good = true;
                let style = self.ui.style();
                self.ui.print(&value::render(&value, self.ui.columns(), style.color));
            }
            Err(Halt::Failure(failure)) => self.say(&failure),
            Err(Halt::Stop(stop @ (Stop::Journal(_) | Stop::Mismatch(_)))) => {
                return Next::End(stop);
            }
            // The call that was interrupted has said so.
            Err(Halt::Stop(Stop::Cancelled)) if self.stopped.swap(false, Ordering::SeqCst) => {}
            Err(Halt::Stop(stop)) => {
                let tone = if stop == Stop::Cancelled { Tone::Warn } else { Tone::Info };
                self.ui.lines(&[Line::new().with(tone, stop.to_string())]);
            }
        }
        for one in session.unsettled().iter().filter(|one| !before.contains(one)) {
            let way = if one.undoable { "`:undo` takes it back" } else { "it cannot be undone" };
            let text = format!(" whether this happened: {}; {way}", one.what);
            self.ui.lines(&[Line::new().with(Tone::Warn, "not known").with(Tone::Plain, text)]);
        }
        Next::Prompt
    }

    /// Says what is wrong with a piece; nothing of it is evaluated then.
    fn is_sound(&self, session: &Interactive, text: &str) -> bool {
        match session.problems(text) {
            Ok(problems) => {
                for problem in &problems {
                    let mut failure = Failure::input(&problem.message).at(problem.place.clone());
                    failure.hint.clone_from(&problem.hint);
                    self.say(&failure);
                }
                problems.is_empty()
            }
            Err(halt) => {
                self.say(&Failure::input(halt.to_string()));
                false
            }
        }
    }

    fn meta(&mut self, session: &mut Interactive, name: &str, argument: &str) -> Next {
        let command = match meta::find(name) {
            Ok(command) => command,
            Err(message) => return self.wrong(message),
        };
        if command.argument.is_empty() && !argument.is_empty() {
            return self.wrong(format!("`:{}` takes nothing", command.name));
        }
        let needs = !command.argument.is_empty() && !command.argument.starts_with('[');
        if needs && argument.is_empty() {
            return self.wrong(format!("`:{}` takes {}", command.name, command.argument));
        }
        let now = Timestamp::now();
        let style = self.ui.style();
        self.good = true;
        match command.name {
            "help" => self.ui.print(&docs::help(style)),
            "doc" => return self.doc(session, argument),
            "plan" => {
                self.good = self.is_sound(session, argument);
                if self.good
                    && let Err(halt) = session.plan(argument)
                {
                    return self.wrong(halt.to_string());
                }
            }
            "on" => match session.switch(argument) {
                Ok(()) => {}
                Err(error) => {
                    self.good = false;
                    fail::say(self.ui, &error);
                }
            },
            "targets" => match hosts::listed(self.store, &Choice::default(), &self.cancel) {
                Ok(found) => self.ui.print(&table::hosts(style, &found)),
                Err(error) => drop(fail::say(self.ui, &error)),
            },
            "debts" => match self.store.debts() {
                Ok(debts) => self.ui.print(&table::debts(style, &debts, now)),
                Err(error) => drop(fail::say(self.ui, &error)),
            },
            "runs" => match self.store.runs() {
                Ok(mut runs) => {
                    runs.truncate(NEWEST);
                    let held = |id: &str| self.store.store().is_held(id);
                    self.ui.print(&table::runs(style, &runs, &held, now));
                }
                Err(error) => drop(fail::say(self.ui, &error)),
            },
            "history" => {
                for line in self.prompt.newest(NEWEST) {
                    self.ui.print(&format!("  {}\n", line.replace('\n', "\n  ")));
                }
            }
            "undo" => return self.undo(session, argument),
            "load" => return self.load(session, argument),
            _ => return Next::Leave,
        }
        Next::Prompt
    }

    fn wrong(&mut self, message: impl Into<String>) -> Next {
        self.good = false;
        self.say(&Failure::input(message));
        Next::Prompt
    }

    fn say(&self, failure: &Failure) {
        let lookup = |name: &str| (self.sources)(name);
        self.ui.error(&diagnostic::failure(self.ui.error_style(), failure, &lookup, None));
    }

    fn doc(&mut self, session: &Interactive, name: &str) -> Next {
        let style = self.ui.style();
        let found =
            if name.is_empty() { Ok(reference::catalogue()) } else { reference::find(name) };
        match found {
            Ok(found) => {
                if let [primitive] = found.as_slice() {
                    let empty = Known::default();
                    let known = self.prompt.known().map_or(&empty, |known| &*known);
                    self.ui.print(&docs::primitive(style, known, primitive));
                } else {
                    let entries: Vec<_> =
                        found.iter().map(|primitive| told::entry(primitive)).collect();
                    self.ui.print(&table::docs(style, &entries));
                }
                Next::Prompt
            }
            Err(message) => {
                let own = session.script().functions();
                match own.iter().find(|own| own.split('(').next() == Some(name)) {
                    Some(own) => {
                        self.ui.print(&format!("{own}\n  defined in this session\n"));
                        Next::Prompt
                    }
                    None => self.wrong(message),
                }
            }
        }
    }

    fn undo(&mut self, session: &mut Interactive, argument: &str) -> Next {
        let reach = match argument {
            "" => Reach::Last,
            "all" => Reach::All,
            _ => return self.wrong("`:undo` takes nothing, or `all`"),
        };
        let what = session.undoable(reach);
        if what.is_empty() {
            self.ui.lines(&[Line::new().with(Tone::Dim, "nothing to undo")]);
            return Next::Prompt;
        }
        for one in &what {
            let mark = if self.ui.style().unicode { "  ↩ " } else { "  < " };
            self.ui.lines(&[Line::new().with(Tone::Dim, mark).with(Tone::Plain, one)]);
        }
        let text = if what.len() == 1 { "Undo this?" } else { "Undo these, in this order?" };
        let question = Question::Confirm { text: text.to_owned(), default: Some(true) };
        if self.ui.ask(&question).as_deref() != Some("yes") {
            self.ui.lines(&[Line::new().with(Tone::Dim, "nothing was undone")]);
            return Next::Prompt;
        }
        self.cancel.reset();
        match session.undo(reach) {
            Ok(undone) => {
                self.good = undone.failed.is_empty();
                for failure in &undone.failed {
                    self.say(failure);
                }
            }
            Err(Halt::Stop(stop @ Stop::Journal(_))) => return Next::End(stop),
            Err(halt) => {
                self.good = false;
                let text = format!("{halt}; `:undo` goes on with the rest");
                self.ui.lines(&[Line::new().with(Tone::Warn, text)]);
            }
        }
        Next::Prompt
    }

    fn load(&mut self, session: &mut Interactive, path: &str) -> Next {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.wrong(format!("cannot read {path}: {error}")),
        };
        let probe = script::build(None).and_then(|mut engine| {
            engine.set_strict_variables(false);
            Runbook::load(&engine, std::path::Path::new(path))
        });
        let runbook = match probe {
            Ok(runbook) => runbook,
            Err(error) => {
                // The excerpt is one of the file.
                let mut failure = Failure::input(error.message).at(error.place);
                failure.hint = error.hint;
                let from_disk = |name: &str| std::fs::read_to_string(name).ok();
                let said = diagnostic::failure(self.ui.error_style(), &failure, &from_disk, None);
                self.ui.error(&said);
                self.good = false;
                return Next::Prompt;
            }
        };
        if runbook.metadata == script::Metadata::default()
            || runbook.metadata.params.as_object().is_none_or(serde_json::Map::is_empty)
        {
            return self.evaluate(session, text.trim_end());
        }
        let functions = told::functions(&runbook);
        if functions.is_empty() {
            return self.wrong(format!(
                "{path} is a runbook with parameters and defines no functions; `upgrade-host {path}` runs it"
            ));
        }
        let next = self.evaluate(session, &functions.join("\n"));
        if self.good {
            let text = format!(
                "{path} is a runbook with parameters: its functions are taken over, nothing of it is run"
            );
            self.ui.lines(&[Line::new().with(Tone::Dim, text)]);
        }
        next
    }

    fn end(&self, session: Interactive, how: Leave) -> Result<Exit, SessionError> {
        let Some(ended) = session.leave(how)? else { return Ok(Exit::Done) };
        if told::is_plain(ended.status, &ended.debts) {
            let short = ended.run.rsplit('-').next().unwrap_or(&ended.run);
            let text = format!("run {}; `upgrade-host show {short}` tells it again", ended.run);
            self.ui.lines(&[Line::new().with(Tone::Dim, text)]);
        }
        Ok(fail::ended(self.ui, &ended, &|name| (self.sources)(name)))
    }
}
