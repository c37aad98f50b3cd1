//! How a session that cannot begin, or a run that ended badly, is said and turned into an exit status.

use super::exit::Exit;
use super::ui::Ui;
use crate::error::Failure;
use crate::journal::JournalError;
use crate::report::diagnostic;
use crate::session::{Ended, SessionError};

/// Says why nothing was done.
pub(crate) fn say(ui: &Ui, error: &SessionError) -> Exit {
    say_in(ui, error, &|name| std::fs::read_to_string(name).ok())
}

/// Warns of something in a script.
pub(super) fn warn(ui: &Ui, warning: &crate::script::Problem) {
    let sources = |name: &str| std::fs::read_to_string(name).ok();
    let (place, hint) = (warning.place.as_ref(), warning.hint.as_deref());
    ui.error(&diagnostic::warning(ui.error_style(), &warning.message, place, hint, &sources));
}

/// Says why nothing was done, with excerpts from these sources.
pub(super) fn say_in(ui: &Ui, error: &SessionError, sources: crate::report::Sources<'_>) -> Exit {
    let style = ui.error_style();
    let one = |failure: &Failure| ui.error(&diagnostic::failure(style, failure, sources, None));
    match error {
        SessionError::Config(errors) => ui.error(&errors.to_string()),
        SessionError::Script(errors) => {
            for error in errors {
                let mut failure = Failure::input(&error.message).at(error.place.clone());
                failure.hint.clone_from(&error.hint);
                one(&failure);
            }
        }
        SessionError::Params(errors) => ui.error(&crate::session::params::render(errors)),
        SessionError::Failure(failure) => one(failure),
        SessionError::Journal(error) => {
            let mut failure = Failure::input(error.to_string());
            if let JournalError::Held { run, .. } = error {
                let short = run.rsplit('-').next().unwrap_or(run);
                let hint = format!("`upgrade-host pause {short}` asks that process to pause it.");
                failure = failure.with_hint(hint);
            }
            one(&failure);
            return match error {
                JournalError::NoSuchRun(_) => Exit::Invalid,
                _ => Exit::Journal,
            };
        }
        SessionError::Stop(stop) => {
            one(&Failure::input(stop.to_string()));
            return Exit::of_stop(stop);
        }
        SessionError::NoState => {
            one(&Failure::input(error.to_string()).with_hint("Give --state DIR."));
        }
        SessionError::Changed { run, diff, .. } => {
            one(&Failure::input(error.to_string()));
            ui.error(diff);
            let short = run.rsplit('-').next().unwrap_or(run);
            ui.error(&format!(
                "help: restore the file, or go on with `upgrade-host resume {short} --accept-change`: calls that still match are answered from the record"
            ));
            return Exit::Journal;
        }
        SessionError::Gone { run, .. } => {
            let short = run.rsplit('-').next().unwrap_or(run);
            one(&Failure::input(error.to_string()).with_hint(format!(
                "Nothing was done. `upgrade-host show {short}` says what it did and where its copies are, `upgrade-host debts` what is still owed; restore by hand from the copies that the runbook made."
            )));
        }
        SessionError::Over { .. } => {
            one(&Failure::input(error.to_string()).with_hint("Start a new run."));
        }
        SessionError::Typed { run } => {
            let short = run.rsplit('-').next().unwrap_or(run);
            one(&Failure::input(error.to_string()).with_hint(format!("`upgrade-host rollback {short}` undoes what it did; `upgrade-host debts` lists what it owes.")));
        }
    }
    Exit::Invalid
}

/// The exit status of a run; what is not in the event stream is said.
pub(crate) fn ended(ui: &Ui, ended: &Ended, sources: crate::report::Sources<'_>) -> Exit {
    use crate::error::Stop;
    use crate::event::Status;
    if let Some(Stop::Mismatch(mismatch)) = &ended.stop {
        let short = ended.run.rsplit('-').next().unwrap_or(&ended.run);
        ui.error(&diagnostic::mismatch(ui.error_style(), mismatch, short, sources));
    }
    if let (Some(failure), true) = (&ended.failure, ui.is_quiet()) {
        ui.error(&diagnostic::failure(ui.error_style(), failure, sources, None));
    }
    match (&ended.stop, ended.status) {
        (_, Status::Planned) if ended.failure.is_some() => Exit::Invalid,
        (_, Status::Planned) if ended.stop.is_none() => Exit::Done,
        (Some(Stop::Journal(_) | Stop::Mismatch(_)), _) => Exit::Journal,
        (Some(Stop::Fired(_)), _) => Exit::DeadMan,
        _ if ended.interrupted && ended.status == Status::Paused => Exit::Interrupted,
        // It was what `rollback` was asked for.
        (_, Status::RolledBack)
            if ended.failure.is_none() && ended.debts.is_empty() && !ended.interrupted =>
        {
            Exit::Done
        }
        (_, Status::RolledBack) if !ended.debts.is_empty() => Exit::Failed,
        (_, status) => status.into(),
    }
}
