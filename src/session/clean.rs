//! What runs that nobody takes up any more left on targets: receipts, and what was kept for undo.

use std::time::Duration;

use super::error::SessionError;
use super::inventory::Choice;
use super::open::{Session, Voice};
use super::prepare;
use crate::effect::{Target, Targets, tail};
use crate::error::{Failure, Kind};
use crate::event::Status;
use crate::journal::Store;
use crate::primitives;
use crate::transport::receipt::{self, Kept};
use crate::transport::{Command, TransportError};

/// What a run left on a target.
#[derive(Clone, Debug)]
pub struct Left {
    /// The target.
    pub target: String,
    /// What is there.
    pub kept: Kept,
    /// Why it stays; none if it was removed.
    pub stays: Option<Why>,
}

/// Why something stays on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A command of the run still runs there.
    Running,
    /// The run can still be resumed or rolled back.
    Resumable(Status),
    /// This journal does not know the run: another may.
    Unknown,
    /// It could not be removed.
    Failed(String),
}

impl Why {
    /// Says it for people.
    pub fn words(&self) -> String {
        match self {
            Self::Running => "a command of it still runs".to_owned(),
            Self::Resumable(status) => {
                format!("the run is {}: it can be taken up or undone", status.as_str())
            }
            Self::Unknown => "no run of this journal: another may take it up".to_owned(),
            Self::Failed(why) => format!("not removed: {why}"),
        }
    }
}

impl Session {
    /// Removes what runs left on the targets that are chosen, and says what was there. What may still be
    /// needed stays, unless `force`.
    ///
    /// # Errors
    /// If a selector names no target, or a target cannot be reached.
    pub fn clean(
        &self,
        choice: &Choice,
        force: bool,
        voice: &Voice,
    ) -> Result<Vec<Left>, SessionError> {
        let inventory = prepare::targets(self, voice)?;
        let mut all = Vec::new();
        for name in choice.among(&inventory)? {
            let target = inventory.get(&name)?;
            prepare::reach_one(&target, &voice.cancel)?;
            let kept = receipt::list(&*target.transport, &voice.cancel)
                .map_err(|error| failed(&name, &error))?;
            for kept in kept {
                let stays = match self.needed(&kept) {
                    Some(why) if !force => Some(why),
                    _ => remove(&target, &kept, voice),
                };
                all.push(Left { target: name.clone(), kept, stays });
            }
        }
        Ok(all)
    }

    fn needed(&self, kept: &Kept) -> Option<Why> {
        if kept.running > 0 {
            return Some(Why::Running);
        }
        match self.store.find(&kept.run) {
            Ok(run) if run.id == kept.run => match run.status {
                Status::Done | Status::RolledBack | Status::Planned => None,
                status => Some(Why::Resumable(status)),
            },
            _ => Some(Why::Unknown),
        }
    }
}

fn remove(target: &Target, kept: &Kept, voice: &Voice) -> Option<Why> {
    let limit = Some(Duration::from_secs(120));
    let user = kept.user.to_string();
    let own = Command::script(primitives::clean_script(), [kept.run.as_str()]).timeout(limit);
    let receipts = Command::script(primitives::clean_receipts_script(), [kept.run.as_str(), &user])
        .timeout(limit);
    // What was kept for undo is found by its owner; of others only the receipts are ours to remove.
    for command in [own, receipts] {
        let why = match target.transport.exec(&command, &voice.cancel, &mut |_, _| {}) {
            Ok(exit) if exit.success() => continue,
            Ok(exit) => tail(&exit.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        return Some(Why::Failed(why));
    }
    None
}

fn failed(target: &str, error: &TransportError) -> SessionError {
    SessionError::Failure(Box::new(
        Failure::new(Kind::Connect, error.to_string()).with_target(target),
    ))
}
