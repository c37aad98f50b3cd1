//! What the scripts on the target say of a call.

use super::Found;
use crate::transport::Ended;

/// A line that a script said of a call.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) state: String,
    pub(super) code: i32,
    pub(super) whole: bool,
    pub(super) why: String,
}

impl Said {
    pub(super) fn read(line: &str) -> Self {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (state, code, whole, why) = (word(), word(), word(), word());
        let code = code.parse().ok().filter(|code| (0..=255).contains(code)).unwrap_or(255);
        let clean = |text: String, most| -> String {
            text.chars().filter(|letter| !letter.is_control()).take(most).collect()
        };
        Self { state: clean(state, 20), code, whole: whole == "whole", why: clean(why, 200) }
    }

    pub(super) fn found(&self) -> Found {
        match self.state.as_str() {
            "none" => Found::Never,
            "void" => Found::Void,
            "starting" | "running" => Found::Running,
            "ended" if !self.was_cut_off() => Found::Ended(Ended::of_shell(self.code)),
            _ => Found::Lost(self.lost()),
        }
    }

    /// Returns whether we had it ended, and it did not come to its own end before.
    pub(super) fn was_cut_off(&self) -> bool {
        !self.why.is_empty() && self.code != 0
    }

    pub(super) fn lost(&self) -> String {
        match (self.state.as_str(), self.why.as_str()) {
            ("reboot", _) => "the target rebooted while it ran".to_owned(),
            ("starting" | "torn", _) => "whether it began cannot be told".to_owned(),
            ("killed", "") => "it was killed, and left no status".to_owned(),
            ("killed" | "ended", why) => format!("it was ended: {why}"),
            (state, _) => format!("its receipt says `{state}`"),
        }
    }
}
