//! The only place of the program that prints and that reads from the terminal.
//!
//! Lines go to stdout, live lines and prompts to stderr. A reader of stdout that goes away ends the printing, not the
//! run: servers under maintenance do not care for a closed pager.

mod editor;
mod prompt;
mod screen;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use screen::Screen;

use crate::effect::{Asker, Question};
use crate::event::{Event, What};
use crate::journal::DebtRow;
use crate::report::{Line, Style, Terminal, json, text_of};
use crate::secret::Secret;
use crate::transport::Cancel;

/// How often live lines are drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a pipe is looked after.
const PIPE: Duration = Duration::from_secs(1);

/// What the command line asked of the user interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Events and listings as JSON, and nothing else on stdout.
    pub json: bool,
    /// Answers questions that have a safe default with it.
    pub yes: bool,
    /// Tells everything.
    pub verbose: bool,
}

/// The user interface. Clones are the same one.
#[derive(Clone)]
pub struct Ui(Arc<Inner>);

struct Inner {
    options: Options,
    style: Style,
    error_style: Style,
    /// Nobody reads stdout any more.
    gone: AtomicBool,
    state: Mutex<State>,
    /// Held while a question is open, so that parallel lanes ask one after the other.
    asking: Mutex<()>,
    cancel: Mutex<Option<Cancel>>,
}

struct State {
    terminal: Terminal,
    multi: MultiProgress,
    bars: Vec<ProgressBar>,
    ticking: bool,
    /// While a question is open, lines wait here.
    held: Option<String>,
}

impl fmt::Debug for Ui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ui").field(&self.0.options).finish()
    }
}

impl Ui {
    /// Makes one for this process's stdin, stdout and stderr.
    pub fn new(options: Options) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let unicode = shows_unicode(&|name| std::env::var(name).unwrap_or_default());
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let live = out.is_terminal() && err.is_terminal() && !dumb && !options.json;
        let style = |color: bool, live: bool| Style {
            color,
            unicode,
            width: 100,
            verbose: options.verbose,
            live,
            zone: crate::zone::local(),
        };
        let columns = columns().unwrap_or(100);
        let style_of = |choice, live| style(choice != ColorChoice::Never, live).with_width(columns);
        let out_style = style_of(AutoStream::choice(&out), live);
        let err_style = style_of(AutoStream::choice(&err), err.is_terminal());
        let target = if live {
            ProgressDrawTarget::term_like_with_hz(Box::new(Screen { width: columns }), 20)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(Arc::new(Inner {
            options,
            error_style: err_style,
            gone: AtomicBool::new(false),
            state: Mutex::new(State {
                terminal: Terminal::new(out_style.clone()),
                multi: MultiProgress::with_draw_target(target),
                bars: Vec::new(),
                ticking: false,
                held: None,
            }),
            style: out_style,
            asking: Mutex::new(()),
            cancel: Mutex::new(None),
        }))
    }

    /// Returns how text for stdout looks.
    pub fn style(&self) -> &Style {
        &self.0.style
    }

    /// Returns how text for stderr looks.
    pub fn error_style(&self) -> &Style {
        &self.0.error_style
    }

    /// Returns the columns of the terminal as it is now.
    pub fn columns(&self) -> usize {
        columns().unwrap_or(self.0.style.width)
    }

    /// Returns what the command line asked for.
    pub fn options(&self) -> Options {
        self.0.options
    }

    /// Lets an interrupt that comes from elsewhere (SIGTERM) close an open question.
    pub fn set_cancel(&self, cancel: Cancel) {
        *lock(&self.0.cancel) = Some(cancel);
    }

    /// Shows excerpts of the runbook with failures, from this lookup by name.
    pub fn set_sources(&self, lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        lock(&self.0.state).terminal.set_sources(lookup);
    }

    /// Tells an event: as a part of the tree, or as a line of JSON.
    pub fn event(&self, event: &Event) {
        if self.0.options.json {
            self.0.write(&format!("{}\n", json::event(event)));
            return;
        }
        let mut state = lock(&self.0.state);
        let lines = state.terminal.event(event);
        self.0.lines(&mut state, &lines);
        // A picture of what goes on is drawn by the clock; only what ended must not stay for a moment longer.
        if !matches!(event.what, What::Output { .. } | What::CallProgress { .. }) {
            self.0.draw(&mut state);
        }
        match event.what {
            What::RunEnded { .. } => state.ticking = false,
            _ if !state.ticking => {
                state.ticking = true;
                drop(state);
                self.tick();
            }
            _ => {}
        }
    }

    /// Takes note of an event without telling it.
    pub fn hear(&self, event: &Event) {
        drop(lock(&self.0.state).terminal.event(event));
    }

    /// Returns whether nothing was told of a run but what its script printed.
    pub fn is_quiet(&self) -> bool {
        !self.0.options.json && lock(&self.0.state).terminal.is_quiet()
    }

    /// Tells what the run owed already when this process took it up.
    pub fn owed_before(&self, debts: &[DebtRow]) {
        if !self.0.options.json {
            let mut state = lock(&self.0.state);
            let lines = state.terminal.owed_before(debts, Timestamp::now());
            self.0.lines(&mut state, &lines);
        }
    }

    /// Writes text for people, or the one array of a listing, to stdout.
    pub fn print(&self, text: &str) {
        let mut state = lock(&self.0.state);
        self.0.say(&mut state, text);
    }

    /// Writes lines to stdout.
    pub fn lines(&self, lines: &[Line]) {
        let mut state = lock(&self.0.state);
        self.0.lines(&mut state, lines);
    }

    /// Writes text to stderr, with its end if it has none.
    pub fn error(&self, text: &str) {
        let state = lock(&self.0.state);
        let end = if text.ends_with('\n') { "" } else { "\n" };
        state.multi.suspend(|| {
            let mut err = anstream::stderr().lock();
            // Nobody is left to be told.
            let _nobody = write!(err, "{text}{end}").and_then(|()| err.flush());
        });
    }

    /// Takes the live lines away.
    pub fn finish(&self) {
        let mut state = lock(&self.0.state);
        state.ticking = false;
        state.clear();
    }

    /// Asks for a secret without showing what is typed; none without a terminal, or on Ctrl-C.
    pub fn ask_secret(&self, prompt: &str) -> Option<Secret> {
        self.prompting(|interrupted| prompt::secret(self.error_style(), prompt, interrupted))
    }

    /// Returns whether somebody can be asked.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn prompting<T>(&self, body: impl FnOnce(&dyn Fn() -> bool) -> Option<T>) -> Option<T> {
        if !self.can_ask() {
            return None;
        }
        let cancel = lock(&self.0.cancel).clone();
        // After an interrupt it is asked what to do; only a further one closes that question. One that waits for its turn
        // is closed with the one before it.
        let mark = cancel.as_ref().map(Cancel::mark).unwrap_or_default();
        let _one = lock(&self.0.asking);
        {
            let mut state = lock(&self.0.state);
            state.clear();
            state.held = Some(String::new());
        }
        let answer = body(&|| cancel.as_ref().is_some_and(|cancel| cancel.is_beyond(mark)));
        let mut state = lock(&self.0.state);
        let held = state.held.take().unwrap_or_default();
        self.0.say(&mut state, &held);
        self.0.draw(&mut state);
        answer
    }

    /// Draws by the clock until the run ends.
    fn tick(&self) {
        let weak: Weak<Inner> = Arc::downgrade(&self.0);
        let pause = if self.0.style.live { FRAME } else { PIPE };
        let ticker = move || {
            loop {
                std::thread::sleep(pause);
                let Some(inner) = weak.upgrade() else { return };
                let mut state = lock(&inner.state);
                if !state.ticking {
                    return;
                }
                if let (true, Some(columns)) = (inner.style.live, columns()) {
                    state.terminal.set_width(columns);
                }
                let lines = state.terminal.still(Timestamp::now());
                inner.lines(&mut state, &lines);
                inner.draw(&mut state);
            }
        };
        // Without a thread there are no live lines, and all else goes on.
        let _without = std::thread::Builder::new().name("display".to_owned()).spawn(ticker);
    }
}

impl Inner {
    fn lines(&self, state: &mut State, lines: &[Line]) {
        if !lines.is_empty() {
            self.say(state, &text_of(lines, self.style.color));
        }
    }

    fn say(&self, state: &mut State, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(held) = &mut state.held {
            held.push_str(text);
        } else if state.bars.is_empty() {
            self.write(text);
        } else {
            state.multi.suspend(|| self.write(text));
        }
    }

    fn write(&self, text: &str) {
        if self.gone.load(Ordering::Relaxed) {
            return;
        }
        let mut out = anstream::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    fn draw(&self, state: &mut State) {
        if !self.style.live || state.held.is_some() {
            return;
        }
        let live = state.terminal.live(Timestamp::now()).unwrap_or_default();
        while state.bars.len() > live.lines.len() {
            if let Some(bar) = state.bars.pop() {
                bar.finish_and_clear();
                state.multi.remove(&bar);
            }
        }
        for (at, line) in live.lines.iter().enumerate() {
            if at == state.bars.len() {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                state.bars.push(state.multi.add(bar));
            }
            state.bars[at].set_message(line.render(self.style.color));
        }
    }
}

impl State {
    fn clear(&mut self) {
        for bar in self.bars.drain(..) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }
}

impl Asker for Ui {
    fn ask(&self, question: &Question) -> Option<String> {
        if let (true, Some(safe)) = (self.0.options.yes, question.default()) {
            return Some(safe);
        }
        self.prompting(|interrupted| prompt::question(self.error_style(), question, interrupted))
    }

    fn is_there(&self) -> bool {
        self.can_ask()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the columns of the terminal.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr())
        .or_else(|_| rustix::termios::tcgetwinsize(io::stdout()))
        .ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Tells from the environment whether more than ASCII is shown: not in the C locale, and not on the Linux console,
/// whose font has neither check marks nor braille.
fn shows_unicode(env: &dyn Fn(&str) -> String) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .map(env)
        .into_iter()
        .find(|value| !value.is_empty())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let utf8 = locale.contains("utf-8") || locale.contains("utf8");
    utf8 && !matches!(env("TERM").as_str(), "linux" | "dumb")
}

#[cfg(test)]
mod tests;
