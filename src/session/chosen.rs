//! Whether what the operator says about the targets or items of a run that stopped finds something that waits for it.

use super::error::SessionError;
use crate::effect::Chosen;
use crate::error::Failure;
use crate::journal::{Body, Record};

/// Makes sure that nothing is said in vain.
///
/// # Errors
/// If nothing in the run waits for a decision.
pub(super) fn check(run: &str, records: &[Record], chosen: &Chosen) -> Result<(), SessionError> {
    if *chosen == Chosen::default() {
        return Ok(());
    }
    let times = |action: &str| {
        let calls = records.iter().filter(|record| match &record.body {
            Body::Call { call, .. } => call.action == action,
            _ => false,
        });
        calls.count()
    };
    if times("rolling_stopped") > times("rolling_decision") {
        return Ok(());
    }
    let failure = Failure::input(format!("nothing in run {run} waits for --only or --skip"))
        .with_hint(format!(
            "`upgrade-host show {run}` says where it stopped; resume it without them."
        ));
    Err(SessionError::Failure(Box::new(failure)))
}
