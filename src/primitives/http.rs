//! HTTP from the target's side.

use std::time::Duration;

use super::bridge::Face;
use crate::effect::{Cx, Registry};
use crate::error::{Failure, Result};

/// Returns the status with which `url`, seen from the target, answers a GET.
///
/// # Errors
/// A failure of kind `connect` if nothing answers.
pub fn probe(_cx: &Cx<'_>, url: &str, _timeout: Duration) -> Result<u16> {
    Err(Failure::input(format!("{url} cannot be asked")).into())
}

/// Adds the family to the face of the language.
pub(super) fn register(_face: &mut Face) {}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(_registry: &mut Registry) {}
