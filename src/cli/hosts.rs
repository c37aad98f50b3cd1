//! `hosts`.

use std::sync::Arc;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::effect::Targets;
use crate::error::Failure;
use crate::report::table::{self, Host};
use crate::session::SessionError;
use crate::session::inventory::Inventory;

/// Lists the targets.
pub(super) fn hosts(ui: &Ui, common: &Common, selector: Option<&str>) -> Exit {
    let listed = run::session(ui, common).and_then(|session| {
        // Nothing is connected to for a listing.
        let factory: crate::session::inventory::Factory =
            Arc::new(
                |config| Err(Failure::input(format!("{} is only listed", config.name)).into()),
            );
        let inventory = Inventory::new(session.config(), factory, true);
        let selector = selector.or(common.on.as_deref());
        let names = match selector {
            Some(selector) => inventory.select(selector)?,
            None => inventory.targets().map(|target| target.name.clone()).collect(),
        };
        names
            .iter()
            .map(|name| Ok(inventory.config(name)?))
            .collect::<Result<Vec<_>, SessionError>>()
    });
    match listed {
        Ok(targets) => {
            let hosts: Vec<Host> = targets
                .into_iter()
                .map(|target| Host {
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
                .collect();
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
