//! `run` and `plan`.

use std::sync::Arc;

use super::args::{Common, Script};
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, signals};
use crate::event::Event;
use crate::secret::Secret;
use crate::session::config::Environment;
use crate::session::secrets::PromptSecret;
use crate::session::{Choice, OnInterrupt, Order, Session, SessionError, Text, Voice};
use crate::transport::Cancel;

struct Prompt(Ui);

impl PromptSecret for Prompt {
    fn ask(&self, text: &str) -> Option<Secret> {
        self.0.ask_secret(text)
    }
}

/// Opens the session that the options name.
pub(crate) fn session(ui: &Ui, common: &Common) -> Result<Session, SessionError> {
    let told = ui.clone();
    let warn = move |warning: &str| told.error(&format!("warning: {warning}"));
    let (config, state) = (common.config.as_deref(), common.state.as_deref());
    Ok(Session::open(Environment::here(), config, state)?.warned_by(warn))
}

/// The operator at this terminal, with a cancel that signals raise.
pub(crate) fn voice(ui: &Ui) -> Voice {
    let cancel = Cancel::new();
    signals::listen(&cancel);
    ui.set_cancel(cancel.clone());
    let events = ui.clone();
    Voice {
        events: Arc::new(move |event: Event| events.event(&event)),
        asker: Arc::new(ui.clone()),
        prompt: Arc::new(Prompt(ui.clone())),
        cancel,
    }
}

/// The targets that a listing is about: those it names, else `--on`, else `usual`.
pub(crate) fn choice(common: &Common, named: Option<&str>, usual: Option<&str>) -> Choice {
    let on = named.or(common.on.as_deref()).or(usual);
    Choice { on: on.map(str::to_owned), limit: common.limit.clone() }
}

/// What the options ask for.
pub(crate) fn order(common: &Common, text: Text) -> Order {
    Order {
        on: common.on.clone(),
        limit: common.limit.clone(),
        set: common.set.clone(),
        yes: common.yes,
        stay: common.stay,
        on_interrupt: common.on_interrupt.as_deref().map(|what| match what {
            "rollback" => OnInterrupt::RollBack,
            _ => OnInterrupt::Pause,
        }),
        take_over: common.take_over,
        ..Order::new(text)
    }
}

/// Runs or plans a script.
pub(super) fn run(ui: &Ui, common: &Common, script: Script, plan: bool) -> Exit {
    let rolling = match script.rolling() {
        Ok(rolling) => rolling,
        Err(why) => {
            ui.error(&format!("error: {why}"));
            return Exit::Invalid;
        }
    };
    let text = match (script.file, script.code) {
        (Some(file), _) => Text::File(file),
        (None, code) => Text::Code(code.unwrap_or_default()),
    };
    let code = if let Text::Code(code) = &text { Some(code.clone()) } else { None };
    let sources = move |name: &str| {
        if name == "-e" { code.clone() } else { std::fs::read_to_string(name).ok() }
    };
    ui.set_sources(sources.clone());
    let result = session(ui, common).and_then(|session| {
        let order = Order { rolling, ..order(common, text) };
        let voice = voice(ui);
        if plan { session.plan(&order, &voice) } else { session.run(&order, &voice) }
    });
    match result {
        Ok(ended) => fail::ended(ui, &ended, &sources),
        Err(error) => fail::say_in(ui, &error, &sources),
    }
}
