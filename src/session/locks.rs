//! Who holds which target.

use super::error::SessionError;
use super::inventory::Choice;
use super::open::{Session, Voice};
use super::prepare;
use crate::effect::{Holder, Targets, holders};
use crate::error::{Failure, Kind};

impl Session {
    /// Returns the runs that hold the targets that are chosen, each with its target.
    ///
    /// # Errors
    /// If the selector names no target, or a target cannot be reached.
    pub fn locks(
        &self,
        choice: &Choice,
        voice: &Voice,
    ) -> Result<Vec<(String, Holder)>, SessionError> {
        let inventory = prepare::targets(self, voice)?;
        let dir = prepare::lock_dir(self);
        let mut all = Vec::new();
        for name in choice.among(&inventory)? {
            let target = inventory.get(&name)?;
            prepare::reach_one(&target, &voice.cancel)?;
            let found = holders(&target, &dir, &voice.cancel).map_err(|error| {
                let failure = Failure::new(Kind::Connect, error.to_string()).with_target(&name);
                SessionError::Failure(Box::new(failure))
            })?;
            all.extend(found.into_iter().map(|holder| (name.clone(), holder)));
        }
        Ok(all)
    }
}
