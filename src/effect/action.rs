//! What an action is: plain serialisable data that knows how to look, to plan, to act, to find out what became of it and
//! how it is taken back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Cx;
use super::deadman::Switch;
use super::lane::Lane;
use crate::call::Access;
use crate::error::{Failure, Result};
use crate::journal::{Debt, Inverse};
use crate::transport::Sudo;

/// What an action would do, given the state before.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan<B, O> {
    /// Nothing: it is so already, and the call returns this.
    Already(O),
    /// It only reads, so plan mode does it for real.
    Real,
    /// Something.
    Would {
        /// What would change, a line each.
        changes: Vec<String>,
        /// What the call would return, for the rest of the plan.
        output: O,
        /// The state that a later look at the same subject should find, in plan mode.
        after: Option<B>,
    },
}

/// What became of an intent without an outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconciled<O> {
    /// It happened, with this output.
    Done(O),
    /// It did not happen, or not to the end, and going on with it is right.
    Redo,
    /// What became of it cannot be told or does not matter, for this reason, and doing it anew is right: as a new try, on
    /// record before it begins.
    Again(String),
    /// It cannot be told, for this reason. The operator decides.
    Unknown(String),
}

/// What an action does to the list of obligations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owes {
    /// Nothing.
    Nothing,
    /// It switches something off that is owed back.
    Opens(Debt),
    /// It switches the thing with this key on again.
    Closes(String),
    /// It switches something off and on again: owed from its intent until it is done.
    Meanwhile(Debt),
    /// It hands an open one over on purpose: neither a failure nor a rollback switches it on.
    Keeps {
        /// The target.
        target: String,
        /// Its key.
        key: String,
        /// Why.
        reason: String,
        /// Until when.
        due: Option<jiff::Timestamp>,
    },
}

impl Owes {
    /// Returns the key of what is met once the action is done.
    pub(super) fn closes(&self) -> Option<&str> {
        match self {
            Self::Closes(key) => Some(key),
            Self::Meanwhile(debt) => Some(&debt.key),
            _ => None,
        }
    }
}

/// An action. The contract:
///
/// * `look` only reads. What it returns is written with the intent, before anything happens.
/// * `apply` may be called again with the same `before` after it was cut off or failed; it then goes on.
/// * `reconcile` looks at the target and decides what became of an intent without an outcome. There is no default: each
///   author says it.
/// * `inverse` is known from the state before alone, so that it is durable before the effect.
pub trait Action: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name, as runbooks and the journal have it.
    const NAME: &'static str;
    /// What it does to the world.
    const ACCESS: Access;
    /// The state found before; `()` if there is nothing to find.
    type Before: Serialize + DeserializeOwned + Send;
    /// What the call returns.
    type Output: Serialize + DeserializeOwned + Clone + Send;

    /// Says what it does, for people: `stop service obsr`.
    fn summary(&self) -> String;

    /// Finds the state before.
    fn look(&self, cx: &Cx<'_>) -> Result<Self::Before>;

    /// Says what it would do.
    fn plan(&self, before: &Self::Before) -> Plan<Self::Before, Self::Output>;

    /// Does it.
    fn apply(&self, cx: &Cx<'_>, before: &Self::Before) -> Result<Self::Output>;

    /// Finds out what became of it after a crash or a lost connection.
    fn reconcile(&self, cx: &Cx<'_>, before: &Self::Before) -> Result<Reconciled<Self::Output>>;

    /// Returns whether it may have begun. Asked before it is taken back if it has an intent and no outcome, once nothing of
    /// it runs any more. Only reads.
    ///
    /// # Errors
    /// As [`Action::look`].
    fn begun(&self, _cx: &Cx<'_>, _before: &Self::Before) -> Result<bool> {
        Ok(true)
    }

    /// Returns the other user as whom it runs commands on the target, if it does: what it leaves running or lying there is
    /// that user's.
    ///
    /// # Errors
    /// As [`Cx::secret`].
    fn becomes(&self, _cx: &Cx<'_>) -> Result<Option<Sudo>> {
        Ok(None)
    }

    /// Says how it is taken back.
    fn inverse(&self, before: &Self::Before) -> Inverse;

    /// Returns the dead-man switch that is to be armed on the target before it is done, if the runbook asks for one and
    /// there would be something to take back.
    ///
    /// # Errors
    /// A failure of kind `input` if its inverse cannot be said as a command. Then nothing is done.
    fn deadman(&self, _cx: &Cx<'_>, _before: &Self::Before) -> Result<Option<Switch>> {
        Ok(None)
    }

    /// On an action that takes back: names what somebody changed since the run, so that undoing meets something else than
    /// what the run left. Only reads. `apply` loses none of it.
    ///
    /// # Errors
    /// As [`Action::look`].
    fn drift(&self, _cx: &Cx<'_>, _before: &Self::Before) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Says what it does to the list of obligations.
    fn owes(&self, before: &Self::Before) -> Owes;

    /// Names the thing whose state plan mode carries forward from one action to the next (`service obsr`). Of what can be
    /// owed, this is the key.
    fn subject(&self) -> Option<String> {
        None
    }

    /// Notes down in the run what later calls need to know of this one. Called whenever the call begins, is planned or is
    /// recalled, also if it fails afterwards.
    fn remember(&self, _lane: &Lane, _before: &Self::Before) {}

    /// Notes down in `before` how the last try failed; called before a new one, which is on record before it begins.
    fn again(&self, _before: &mut Self::Before, _failure: &Failure) {}

    /// Returns whether this output means that something changed.
    fn changed(&self, _output: &Self::Output) -> bool {
        Self::ACCESS == Access::Change
    }

    /// Says the result in a few words, for people.
    fn result(&self, _output: &Self::Output) -> Option<String> {
        None
    }
}

/// Makes the inverse that is another action.
pub fn inverse_of<A: Action>(action: &A) -> Inverse {
    match serde_json::to_value(action) {
        Ok(data) => {
            Inverse::Action { name: A::NAME.to_owned(), action: data, summary: action.summary() }
        }
        Err(error) => {
            Inverse::Impossible { why: format!("its inverse cannot be recorded: {error}") }
        }
    }
}

/// A call that only reads, or only asks: the small form of [`Action`].
pub trait Query: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name, as runbooks and the journal have it.
    const NAME: &'static str;
    /// `Read`, or `Ask` if a person answers.
    const ACCESS: Access = Access::Read;
    /// What the call returns.
    type Output: Serialize + DeserializeOwned + Clone + Send;

    /// Says what it reads or asks, for people.
    fn summary(&self) -> String;

    /// Reads or asks.
    fn ask(&self, cx: &Cx<'_>) -> Result<Self::Output>;

    /// What plan mode takes as the answer instead of asking; `None` asks for real.
    fn assume(&self) -> Option<Self::Output> {
        None
    }

    /// Says the result in a few words, for people.
    fn result(&self, _output: &Self::Output) -> Option<String> {
        None
    }
}

/// A [`Query`] as an [`Action`].
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Asked<Q>(pub Q);

impl<Q: Query> Action for Asked<Q> {
    const NAME: &'static str = Q::NAME;
    const ACCESS: Access = Q::ACCESS;
    type Before = ();
    type Output = Q::Output;

    fn summary(&self) -> String {
        self.0.summary()
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, _before: &()) -> Plan<(), Q::Output> {
        match self.0.assume() {
            Some(output) => Plan::Would { changes: Vec::new(), output, after: None },
            None => Plan::Real,
        }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<Q::Output> {
        self.0.ask(cx)
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &()) -> Result<Reconciled<Q::Output>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &()) -> Inverse {
        Inverse::Nothing { why: "it only reads".to_owned() }
    }

    fn owes(&self, _before: &()) -> Owes {
        Owes::Nothing
    }

    fn changed(&self, _output: &Q::Output) -> bool {
        false
    }

    fn result(&self, output: &Q::Output) -> Option<String> {
        self.0.result(output)
    }
}
