//! What runs that nobody takes up any more left on targets: receipts, what was kept for undo, dead-man switches.

use std::time::Duration;

use super::error::SessionError;
use super::inventory::Choice;
use super::open::{Session, Voice};
use super::prepare;
use crate::effect::{Standing, Target, Targets, dismiss, standing, tail};
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
    /// The dead-man switches of it that are there.
    pub switches: Vec<Standing>,
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
            for mut left in left_on(&target, voice).map_err(|error| failed(&name, &error))? {
                left.stays = match self.needed(&left.kept) {
                    Some(why) if !force => Some(why),
                    _ => remove(&target, &left, voice),
                };
                all.push(left);
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

/// Lists what is on a target, by run.
fn left_on(target: &Target, voice: &Voice) -> Result<Vec<Left>, TransportError> {
    let left =
        |kept: Kept| Left { target: target.name.clone(), kept, switches: Vec::new(), stays: None };
    let kept = receipt::list(&*target.transport, &voice.cancel)?;
    let mut all: Vec<Left> = kept.into_iter().map(left).collect();
    for it in standing(target, None, &voice.cancel)? {
        let at = all.iter().position(|left| left.kept.run == it.run).unwrap_or_else(|| {
            let run = it.run.clone();
            all.push(left(Kept { run, user: 0, calls: 0, running: 0 }));
            all.len() - 1
        });
        all[at].switches.push(it);
    }
    Ok(all)
}

fn remove(target: &Target, left: &Left, voice: &Voice) -> Option<Why> {
    for it in &left.switches {
        if let Err(why) = dismiss(target, it, &voice.cancel) {
            return Some(Why::Failed(why));
        }
    }
    let kept = &left.kept;
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
