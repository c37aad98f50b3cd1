//! The functions that runbooks call, one file per family: its Rhai face and docs, its actions, its parsing, its tests.

mod app;
mod ask;
pub mod bridge;
pub mod closure;
mod data;
mod deadman;
mod disk;
mod each;
mod exec;
mod explain;
mod facts;
mod files;
pub mod flow;
mod http;
mod jobs;
mod lanes;
mod log;
mod network;
mod notify;
mod pace;
mod params;
mod reboot;
mod replication;
mod rolling;
mod rsync;
mod service;
mod text;
mod time;
mod users;

use std::sync::OnceLock;

use bridge::{Face, Faces};
pub use exec::{AdHoc, Answer};
pub use files::{clean_receipts_script, clean_script, needs_kept};
pub use rolling::{Rolling, RollingOptions, State, Waves};
#[cfg(any(test, fuzzing))]
pub use {log::fuzz::fuzz as fuzz_log, rsync::fuzz::fuzz as fuzz_rsync};

use crate::effect::Registry;

/// A family: how it joins the language, and how its actions become known.
type Family = (fn(&mut Face), fn(&mut Registry));

/// Every family, in the order of the reference.
const FAMILIES: &[Family] = &[
    (flow::register, flow::actions),
    (each::register, each::actions),
    (rolling::register, rolling::actions),
    (params::register, params::actions),
    (exec::register, exec::actions),
    (files::register, files::actions),
    (rsync::register, rsync::actions),
    (disk::register, disk::actions),
    (service::register, service::actions),
    (network::register, network::actions),
    (reboot::register, reboot::actions),
    (http::register, http::actions),
    (data::register, data::actions),
    (log::register, log::actions),
    (app::register, app::actions),
    (users::register, users::actions),
    (replication::register, replication::actions),
    (jobs::register, jobs::actions),
    (time::register, time::actions),
    (ask::register, ask::actions),
    (notify::register, notify::actions),
    (facts::register, facts::actions),
];

/// Returns every primitive, as a Rhai module and as the catalogue. Made once: it is the same for every engine.
pub fn face() -> &'static Faces {
    static FACE: OnceLock<Faces> = OnceLock::new();
    FACE.get_or_init(|| {
        let mut face = Face::new();
        bridge::register_types(&mut face.module);
        for (register, _) in FAMILIES {
            register(&mut face);
        }
        face.shared()
    })
}

/// Returns every action by name, to undo from the record.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    for (_, actions) in FAMILIES {
        actions(&mut registry);
    }
    registry
}
