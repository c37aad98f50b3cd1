//! What the journal has of waves: that one begins and what it came to, why no other begins, and what is done about that.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::call::Access;
use crate::effect::{Cx, Query, Question};
use crate::error::{Pause, Result, Stop};
use crate::units::say_names;

/// Says that a wave begins. On record for those who look at the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wave {
    pub(super) number: usize,
    pub(super) of: usize,
    pub(super) items: Vec<String>,
}

impl Query for Wave {
    const NAME: &'static str = "wave";
    type Output = ();

    fn summary(&self) -> String {
        format!("wave {} of {}: {}", self.number, self.of, self.items.join(", "))
    }

    fn ask(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }
}

/// What a wave came to, in which nothing runs any more. A replay takes it from here: what waited then may be through
/// now, and must not change what was decided after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Over {
    pub(super) done: usize,
    pub(super) failed: Vec<String>,
    /// Those in a wait that ended the process.
    pub(super) waits: Vec<String>,
    /// When it ended, from which the pause after it counts. Journals from before that was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Timestamp>,
}

/// Says what a wave came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WaveOver {
    pub(super) number: usize,
    pub(super) of: usize,
    #[serde(skip)]
    pub(super) over: Over,
}

impl Query for WaveOver {
    const NAME: &'static str = "wave_over";
    type Output = Over;

    fn summary(&self) -> String {
        format!("wave {} of {} is over", self.number, self.of)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Over> {
        Ok(Over { at: Some(cx.now()), ..self.over.clone() })
    }
}

/// Says that no further lane begins. On record before the operator decides, so that a resume is known to be the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stopped {
    pub(super) why: String,
}

impl Query for Stopped {
    const NAME: &'static str = "rolling_stopped";
    const ACCESS: Access = Access::Ask;
    type Output = ();

    fn summary(&self) -> String {
        self.why.clone()
    }

    fn ask(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }
}

/// What is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decision {
    /// Those that run again or for the first time.
    pub(super) go: Vec<String>,
    /// Those that are taken out for good.
    pub(super) out: Vec<String>,
}

/// Asks what is done about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Decide {
    pub(super) failed: Vec<String>,
    pub(super) waiting: Vec<String>,
    /// Whether this process took the run up after it had stopped here: that is the answer.
    #[serde(skip)]
    pub(super) resumed: bool,
}

impl Query for Decide {
    const NAME: &'static str = "rolling_decision";
    const ACCESS: Access = Access::Ask;
    type Output = Decision;

    fn summary(&self) -> String {
        format!("how to go on: {} failed, {} wait", self.failed.len(), self.waiting.len())
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Decision> {
        const AGAIN: &str = "try the failed ones again and go on";
        const WITHOUT: &str = "leave the failed ones out and go on";
        const GO_ON: &str = "go on";
        const PAUSE: &str = "pause";
        let run = cx.lane.run();
        if self.resumed {
            return self.chosen(&run.chosen.only, &run.chosen.skip);
        }
        let options: &[&str] =
            if self.failed.is_empty() { &[GO_ON, PAUSE] } else { &[AGAIN, WITHOUT, PAUSE] };
        let question = Question::Choose {
            text: format!("{}. What now?", self.summary()),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            default: None,
        };
        match run.asker.ask(&question).as_deref() {
            Some(AGAIN | GO_ON) => self.chosen(&[], &[]),
            Some(WITHOUT) => self.chosen(&[], &self.failed),
            _ => {
                let then = match self.failed.as_slice() {
                    [] => "resume goes on".to_owned(),
                    failed => format!(
                        "resume tries again what failed ({}); --skip ITEM takes one out",
                        say_names(failed)
                    ),
                };
                let why = format!("{}; {then}", self.summary());
                Err(Stop::Paused(Pause { why, until: None, unknown: false }).into())
            }
        }
    }

    fn result(&self, output: &Decision) -> Option<String> {
        let out = match output.out.len() {
            0 => String::new(),
            out => format!(", {out} taken out"),
        };
        Some(format!("{} go{out}", output.go.len()))
    }
}

impl Decide {
    fn chosen(&self, only: &[String], skip: &[String]) -> Result<Decision> {
        let all = || self.failed.iter().chain(&self.waiting);
        for (option, names) in [("--only", only), ("--skip", skip)] {
            for name in names {
                if !all().any(|known| known == name) {
                    let known: Vec<&String> = all().collect();
                    let why = format!(
                        "{option} {name}: it is none of those that failed or wait ({})",
                        say_names(&known)
                    );
                    return Err(Stop::Paused(Pause { why, until: None, unknown: false }).into());
                }
            }
        }
        let go = all()
            .filter(|name| !skip.contains(name) && (only.is_empty() || only.contains(name)))
            .cloned()
            .collect();
        Ok(Decision { go, out: skip.to_vec() })
    }
}
