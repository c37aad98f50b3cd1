//! Taking a change of files back, from the record alone. What is there is compared with what the run left: what somebody
//! changed since is told beforehand, and is set aside for good instead of being replaced.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::shell::{change, read};
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled};
use crate::error::Result;
use crate::journal::Inverse;

/// A way back: a script that looks at each thing before it acts, so that doing it again is the same as finding out what
/// became of it.
pub(super) trait Back: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name, as the journal has it.
    const NAME: &'static str;
    /// The script. With `look` as its first argument it only prints what somebody changed since and would be set aside,
    /// a line each; otherwise it acts, and prints `changed` if something changed.
    const SCRIPT: &'static str;

    /// Says what it does, for people.
    fn summary(&self) -> String;

    /// Returns the arguments of the script, after the first.
    fn arguments(&self) -> Vec<String>;
}

/// A [`Back`] as an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct TakeBack<B>(pub(super) B);

impl<B: Back> TakeBack<B> {
    fn arguments(&self, how: &str) -> Vec<String> {
        std::iter::once(how.to_owned()).chain(self.0.arguments()).collect()
    }
}

impl<B: Back> Action for TakeBack<B> {
    const NAME: &'static str = B::NAME;
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        self.0.summary()
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, (): &()) -> Plan<(), bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn drift(&self, cx: &Cx<'_>, (): &()) -> Result<Vec<String>> {
        let said = read(cx, B::SCRIPT, self.arguments("look"))?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    fn apply(&self, cx: &Cx<'_>, (): &()) -> Result<bool> {
        Ok(change(cx, B::SCRIPT, self.arguments("act"), b"")?.contains("changed"))
    }

    fn reconcile(&self, _cx: &Cx<'_>, (): &()) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, (): &()) -> Inverse {
        Inverse::Nothing { why: "it is an undo itself".to_owned() }
    }

    fn owes(&self, (): &()) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}
