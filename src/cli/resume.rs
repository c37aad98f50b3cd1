//! `resume`.

use std::sync::Arc;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::effect::Chosen;
use crate::event::{Event, What};
use crate::session::{Order, Session, SessionError, Text};

/// Takes a run up where it stopped.
pub(super) fn resume(
    ui: &Ui,
    common: &Common,
    name: &str,
    accept_change: bool,
    chosen: Chosen,
) -> Exit {
    taken_up(ui, common, name, |session, order, voice| {
        let order = Order { chosen, ..order.clone() };
        session.resume(name, &order, accept_change, voice)
    })
}

/// Takes a run up with excerpts from its recorded sources, and what it owes shown first.
pub(super) fn taken_up(
    ui: &Ui,
    common: &Common,
    name: &str,
    go: impl FnOnce(
        &Session,
        &Order,
        &crate::session::Voice,
    ) -> Result<crate::session::Ended, SessionError>,
) -> Exit {
    if !common.set.is_empty() || common.on.is_some() || common.limit.is_some() {
        ui.error("error: a run keeps the targets and parameters that it began with; --on, --limit and --set do not go with this");
        return Exit::Invalid;
    }
    let session = match run::session(ui, common) {
        Ok(session) => session,
        Err(error) => return fail::say(ui, &error),
    };
    let recorded = match session.store().find(name) {
        Ok(run) => run,
        Err(error) => return fail::say(ui, &error.into()),
    };
    let sources = recorded.sources.clone();
    let lookup = move |name: &str| {
        sources.iter().find(|source| source.name == name).map(|source| source.text.clone())
    };
    ui.set_sources(lookup.clone());
    let debts = session.debts().unwrap_or_default();
    let own: Vec<_> = debts.into_iter().filter(|debt| debt.run == recorded.id).collect();
    let mut voice = run::voice(ui);
    let told = ui.clone();
    voice.events = Arc::new(move |event: Event| {
        told.event(&event);
        // What it owes already belongs below its headline, and starts the clock of the lock-out.
        if matches!(event.what, What::RunBegan { .. }) {
            told.owed_before(&own);
        }
    });
    let order = run::order(common, Text::Code(String::new()));
    match go(&session, &order, &voice) {
        Ok(ended) => fail::ended(ui, &ended, &lookup),
        Err(error) => fail::say(ui, &error),
    }
}
