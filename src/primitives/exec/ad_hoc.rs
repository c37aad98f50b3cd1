//! One command on many targets, without a runbook: what `upgrade-host run --on TARGETS -- COMMAND` does on each of them.
//! It is the same action that the script [`AdHoc::code`] would do, so such a run is journaled and resumed like any other.

use super::job::{Job, Output, Run, Sh, Words};
use crate::effect::{Lane, perform, query};
use crate::error::Result;

/// A command for many targets.
#[derive(Clone, Debug)]
pub struct AdHoc {
    job: Job,
    reads: bool,
}

/// What it came to on one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exit status; 0 if it only read.
    pub code: i32,
    /// Standard output without the last newline.
    pub stdout: String,
    /// Standard error without the last newline.
    pub stderr: String,
}

impl AdHoc {
    /// Makes one: a single word is a line for the shell, several are a program and its arguments. With `reads` it is
    /// taken to change nothing.
    pub fn new(words: &[String], reads: bool) -> Self {
        let words = match words {
            [line] => Words::Shell(line.clone()),
            words => Words::List(words.to_vec()),
        };
        Self { job: Job::plain(words), reads }
    }

    /// Returns whether it is taken to change nothing.
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Returns the script that does the same on the current target. A failure is a result, not the end.
    pub fn code(&self) -> String {
        let (verb, words) = match &self.job.words {
            _ if self.reads => ("output", self.literal()),
            Words::Shell(_) => ("sh", self.literal()),
            Words::List(_) => ("run", self.literal()),
        };
        format!("attempt(|| {verb}({words}));")
    }

    fn literal(&self) -> String {
        match &self.job.words {
            Words::Shell(line) => literal(line),
            Words::List(words) => {
                let words: Vec<String> = words.iter().map(|word| literal(word)).collect();
                format!("[{}]", words.join(", "))
            }
        }
    }

    /// Does it on the lane's target.
    ///
    /// # Errors
    /// As [`perform`].
    pub fn perform(&self, lane: &Lane) -> Result<Answer> {
        if self.reads {
            let stdout = query(lane, None, Output(self.job.clone()))?;
            return Ok(Answer { code: 0, stdout, stderr: String::new() });
        }
        let ran = match &self.job.words {
            Words::Shell(_) => perform(lane, None, &Sh(self.job.clone())),
            Words::List(_) => perform(lane, None, &Run(self.job.clone())),
        }?;
        Ok(Answer { code: ran.code, stdout: ran.stdout, stderr: ran.stderr })
    }
}

/// Writes a text as Rhai does.
fn literal(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rhai_reads_back_what_is_written(text in any::<String>()) {
            let value: String = rhai::Engine::new().eval(&literal(&text)).unwrap();
            prop_assert_eq!(value, text);
        }
    }

    #[test]
    fn the_script_says_the_same() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let code = |list: &[&str], reads| AdHoc::new(&words(list), reads).code();
        assert_eq!(code(&["uptime"], false), r#"attempt(|| sh("uptime"));"#);
        assert_eq!(code(&["echo", "a \"b\""], false), r#"attempt(|| run(["echo", "a \"b\""]));"#);
        assert_eq!(code(&["uptime -p"], true), r#"attempt(|| output("uptime -p"));"#);
    }
}
