//! `hosts`.

use std::sync::Arc;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::effect::Targets;
use crate::error::Failure;
use crate::report::table::{self, Host};
use crate::session::inventory::Inventory;
use crate::session::{Session, SessionError};

/// Lists the targets.
pub(super) fn hosts(ui: &Ui, common: &Common, selector: Option<&str>) -> Exit {
    let selector = selector.or(common.on.as_deref());
    match run::session(ui, common).and_then(|session| listed(&session, selector)) {
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

/// Returns the configured targets, or those that a selector stands for.
pub(crate) fn listed(session: &Session, selector: Option<&str>) -> Result<Vec<Host>, SessionError> {
    // Nothing is connected to for a listing.
    let factory: crate::session::inventory::Factory =
        Arc::new(|config| Err(Failure::input(format!("{} is only listed", config.name)).into()));
    let inventory = Inventory::new(session.config(), factory, true);
    let names = match selector {
        Some(selector) => inventory.select(selector)?,
        None => inventory.targets().map(|target| target.name.clone()).collect(),
    };
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
