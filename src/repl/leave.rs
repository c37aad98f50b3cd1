//! Leaving: what is owed is said and asked about; a signal that ends programs leaves as well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGTERM};

use crate::cli::ui::Ui;
use crate::effect::{Asker, Question};
use crate::report::{Line, Tone};
use crate::session::{Interactive, Leave};

/// Asks how to leave, if there is something to ask about; none to stay.
pub(super) fn ask(ui: &Ui, session: &Interactive, refusals: u32) -> Option<Leave> {
    const UNDO: &str = "undo everything that this session did, and leave";
    const KEEP: &str = "leave it so; `upgrade-host debts` lists it";
    const STAY: &str = "stay";
    let (owed, unsettled) = (session.debts(), session.unsettled());
    if owed.is_empty() && unsettled.is_empty() {
        return Some(Leave::Keep);
    }
    let open = unsettled.iter().map(|one| ("not known whether it happened", &one.what));
    for (word, what) in owed.iter().map(|what| ("still owed", what)).chain(open) {
        let line = Line::new().with(Tone::Warn, word).with(Tone::Plain, format!(": {what}"));
        ui.lines(&[line]);
    }
    if owed.is_empty() && !unsettled.iter().any(|one| one.undoable) {
        return Some(Leave::Keep);
    }
    // Twice no answer means that nobody is there to give one.
    if !ui.can_ask() || refusals > 1 {
        return Some(Leave::Keep);
    }
    let question = Question::Choose {
        text: "Leave?".to_owned(),
        options: [UNDO, KEEP, STAY].map(str::to_owned).to_vec(),
        default: None,
    };
    match ui.ask(&question).as_deref() {
        Some(UNDO) => Some(Leave::RollBack),
        Some(KEEP) => Some(Leave::Keep),
        _ => None,
    }
}

/// SIGTERM and SIGHUP. While a line is evaluated they interrupt it, and then the session ends; while one is typed they
/// end the program at once, with the terminal as it was: the journal has everything.
pub(super) struct Signals {
    arrived: Arc<AtomicBool>,
    reading: Arc<AtomicBool>,
}

/// A line is being typed as long as this lives.
pub(super) struct Reading(Arc<AtomicBool>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Signals {
    pub(super) fn listen() -> Self {
        let new = || Arc::new(AtomicBool::new(false));
        let signals = Self { arrived: new(), reading: new() };
        let Ok(mut both) = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP]) else {
            return signals;
        };
        let (arrived, reading) = (Arc::clone(&signals.arrived), Arc::clone(&signals.reading));
        let modes = tcgetattr(io::stdin()).ok();
        let listener = move || {
            for signal in both.forever() {
                arrived.store(true, Ordering::SeqCst);
                if reading.load(Ordering::SeqCst) {
                    if let Some(modes) = &modes {
                        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, modes);
                    }
                    let _ends = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        };
        let _without = std::thread::Builder::new().name("leave".to_owned()).spawn(listener);
        signals
    }

    /// Returns whether one came.
    pub(super) fn arrived(&self) -> bool {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Says that a line is being typed.
    pub(super) fn reading(&self) -> Reading {
        self.reading.store(true, Ordering::SeqCst);
        Reading(Arc::clone(&self.reading))
    }
}
