//! `hosts`.

use std::sync::Arc;
use std::time::Duration;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::error::Failure;
use crate::report::diagnostic;
use crate::report::table::{self, Host};
use crate::session::inventory::Inventory;
use crate::session::{self, Choice, Inspected, Session, SessionError};
use crate::transport::Cancel;
use crate::units;

/// Lists the targets.
pub(super) fn hosts(ui: &Ui, common: &Common, selector: Option<&str>) -> Exit {
    let choice = run::choice(common, selector, None);
    let listed = run::session(ui, common).and_then(|session| {
        let cancel = run::voice(ui).cancel;
        listed(&session, &choice, &cancel)
    });
    match listed {
        Ok(hosts) => {
            if common.json {
                let rows: Vec<_> = hosts
                    .iter()
                    .map(|host| serde_json::json!({ "name": host.name, "address": host.address, "user": host.user, "tags": host.tags, "via": host.via }))
                    .collect();
                ui.print(&format!("{}\n", serde_json::Value::Array(rows)));
            } else {
                ui.print(&table::hosts(ui.style(), &hosts));
            }
            Exit::Done
        }
        Err(error) => fail::say(ui, &error),
    }
}

/// Connects to the targets and says how each stands. The exit status is the number of those with trouble.
pub(super) fn check(ui: &Ui, common: &Common, selector: Option<&str>) -> Exit {
    let choice = run::choice(common, selector, Some("all"));
    let result = run::session(ui, common)
        .and_then(|session| session.inspect(&choice, session::AT_ONCE, &run::voice(ui)));
    let targets = match result {
        Ok(targets) => targets,
        Err(error) => return fail::say(ui, &error),
    };
    if common.json {
        let rows: Vec<_> = targets.iter().map(checked_json).collect();
        ui.print(&format!("{}\n", serde_json::Value::Array(rows)));
    } else {
        let rows: Vec<_> = targets.iter().map(checked).collect();
        ui.print(&table::inspected(ui.style(), &rows));
        for target in &targets {
            if let Err(trouble) = &target.found {
                let mut failure = Failure::input(&trouble.why).with_target(&target.target);
                failure.hint.clone_from(&trouble.hint);
                ui.error(&diagnostic::failure(ui.error_style(), &failure, &|_| None, None));
            }
        }
    }
    match targets.iter().filter(|target| target.found.is_err()).count() {
        0 => Exit::Done,
        troubled => Exit::Targets(troubled),
    }
}

fn checked(target: &Inspected) -> table::Inspected {
    let name = target.target.clone();
    let found = match &target.found {
        Ok(found) => found.clone(),
        Err(trouble) => {
            let trouble = Some(trouble.at.to_owned());
            return table::Inspected { name, trouble, ..table::Inspected::default() };
        }
    };
    let away = Duration::from_millis(found.skew_ms.unsigned_abs());
    let clock = match found.skew_ms {
        0 => String::new(),
        1.. => format!("{} ahead", units::say_duration(away)),
        _ => format!("{} behind", units::say_duration(away)),
    };
    table::Inspected {
        name,
        trouble: None,
        reached: format!("in {}", units::say_duration(found.reached)),
        user: if found.sudo { format!("{} by sudo", found.user) } else { found.user },
        rsync: found.rsync.unwrap_or_default(),
        services: found.services.unwrap_or_default(),
        clock,
        free: found.free.map(units::say_size).unwrap_or_default(),
        system: found.system,
    }
}

fn checked_json(target: &Inspected) -> serde_json::Value {
    match &target.found {
        Ok(found) => serde_json::json!({
            "name": target.target,
            "trouble": null,
            "reached_ms": u64::try_from(found.reached.as_millis()).unwrap_or(u64::MAX),
            "user": found.user,
            "sudo": found.sudo,
            "rsync": found.rsync,
            "services": found.services,
            "skew_ms": found.skew_ms,
            "free": found.free,
            "system": found.system,
        }),
        Err(trouble) => serde_json::json!({
            "name": target.target,
            "trouble": { "at": trouble.at, "why": trouble.why, "hint": trouble.hint },
        }),
    }
}

/// Returns the configured targets that are chosen; all if nothing is.
pub(crate) fn listed(
    session: &Session,
    choice: &Choice,
    cancel: &Cancel,
) -> Result<Vec<Host>, SessionError> {
    // Nothing is connected to for a listing.
    let factory: crate::session::inventory::Factory =
        Arc::new(|config| Err(Failure::input(format!("{} is only listed", config.name)).into()));
    let inventory = Inventory::new(session.complete(cancel)?, factory, true);
    let names = choice.among(&inventory)?;
    names
        .iter()
        .map(|name| {
            let target = inventory.config(name)?;
            Ok(Host {
                address: match (target.local, target.port) {
                    (true, _) => "this machine".to_owned(),
                    (false, 22) => target.address,
                    (false, port) => format!("{}:{port}", target.address),
                },
                name: target.name,
                user: target.user,
                tags: target.tags,
                via: target.jump.into_iter().map(|hop| hop.name).collect(),
            })
        })
        .collect()
}
