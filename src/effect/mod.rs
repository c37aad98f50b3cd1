//! The one way to an effect. Every action passes [`perform`]; nothing else touches a clock, a process, a file of a
//! target, the network, randomness or the operator. So replay, plan, durability, cancel, retry, redaction, events and
//! undo each exist once.

mod action;
mod ask;
#[cfg(test)]
pub(crate) mod bench;
mod beside;
mod context;
mod deadman;
mod detached;
mod drift;
mod exec;
mod foresee;
mod lane;
mod lock;
mod obligation;
mod off;
mod perform;
mod reconnect;
mod redact;
mod registry;
mod rollback;
mod run;
mod side_by_side;
mod target;
mod tied;

pub use action::{Action, Asked, Owes, Plan, Query, Reconciled, inverse_of};
pub use ask::{Asker, Nobody, Question};
pub use beside::Beside;
pub use context::Cx;
pub use deadman::{Deadman, Standing, Switch, Switches, disarm_all, dismiss, look_all, standing};
pub use exec::tail;
pub use foresee::{Foresight, foresee_rollback};
pub use lane::{App, Lane, Undo, UndoClosure};
pub use lock::{Holder, LOCK_DIR, Locks, holders};
pub use obligation::{Kept, Obligations, Open};
pub use off::SwitchedOff;
pub use perform::{perform, query};
pub use redact::Redactor;
pub(crate) use redact::base64;
pub use registry::Registry;
pub use rollback::{Undone, recall_inverses, roll_back};
pub use run::{Adapters, Chosen, Clock, Mode, Run, SecretRef, Secrets, SystemClock, Window};
pub use side_by_side::{AT_ONCE, side_by_side};
pub use target::{ServiceCommands, Target, Targets};
#[cfg(any(test, fuzzing))]
pub use {deadman::fuzz as fuzz_deadman, lock::fuzz as fuzz_locks};

/// The stack of threads that evaluate scripts: Rhai recurses on it, and only touched pages cost memory.
pub const STACK: usize = 64 << 20;
