//! The functions that runbooks call, one file per family: its Rhai face and docs, its actions, its parsing, its tests.

pub mod bridge;
pub mod closure;
pub mod http;
pub mod service;

use bridge::Face;

use crate::effect::Registry;

/// Returns every primitive, as a Rhai module and as the catalogue.
pub fn face() -> Face {
    let mut face = Face::new();
    bridge::register_types(&mut face.module);
    service::register(&mut face);
    face
}

/// Returns every action by name, to undo from the record.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    service::actions(&mut registry);
    registry
}
