//! `run -- COMMAND`: one command on many targets, equal answers together.

use std::sync::{Arc, Mutex, PoisonError};

use super::args::{Common, Script};
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::event::{Event, What};
use crate::report::groups::{self, Answered};
use crate::session::{AdHoc, Order, Text, Told};

/// Runs the command. The exit status says on how many targets it failed.
pub(super) fn ad_hoc(ui: &Ui, common: &Common, script: &Script) -> Exit {
    let command = AdHoc::new(&script.command, script.read);
    let rolling = match script.rolling() {
        Ok(rolling) => rolling,
        Err(why) => {
            ui.error(&format!("error: {why}"));
            return Exit::Invalid;
        }
    };
    let result = run::session(ui, common).and_then(|session| {
        let mut voice = run::voice(ui);
        if !common.json {
            voice.events = Arc::new(told(ui, common.verbose));
        }
        let order = run::order(common, Text::Code(String::new()));
        session.ad_hoc(&Order { rolling, ..order }, &command, &voice)
    });
    let (ended, told) = match result {
        Ok(ended) => ended,
        Err(error) => return fail::say(ui, &error),
    };
    if !common.json {
        let answers: Vec<Answered> = told.iter().map(answered).collect();
        ui.lines(&groups::lines(ui.style(), &answers, common.verbose));
    }
    match told.iter().filter(|told| told.answer.is_err()).count() {
        _ if ended.stop.is_some() => fail::ended(ui, &ended, &|_| None),
        0 => Exit::Done,
        failed => Exit::Targets(failed),
    }
}

fn answered(told: &Told) -> Answered {
    let target = told.target.clone();
    match &told.answer {
        Ok(answer) => {
            let (out, err) = (answer.stdout.clone(), answer.stderr.clone());
            Answered { target, ok: true, said: String::new(), hint: String::new(), out, err }
        }
        Err(failure) => {
            let (said, hint) = match failure.code {
                Some(code) => (format!("status {code}"), String::new()),
                None => (failure.message.clone(), failure.hint.clone().unwrap_or_default()),
            };
            let (out, err) = (failure.stdout.clone(), failure.stderr.clone());
            Answered { target, ok: false, said, hint, out, err }
        }
    }
}

/// With `live`, each line as it comes, its target before it; warnings in any case.
fn told(ui: &Ui, live: bool) -> impl Fn(Event) + Send + Sync + use<> {
    let ui = ui.clone();
    let one = Mutex::new(());
    move |event: Event| {
        let _one = one.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.what {
            What::Output { line, error, .. } if live => {
                ui.lines(&[groups::line(&event.target, line, *error)]);
            }
            What::Warning { text } => ui.error(&format!("warning: {text}")),
            _ => {}
        }
    }
}
