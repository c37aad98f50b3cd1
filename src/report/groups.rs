//! What many targets answered to one command: equal answers together, the failed ones last.

use std::collections::BTreeMap;

use super::{Line, Style, Tone};

/// How many names are shown of a group of failures that say the same.
const NAMES: usize = 12;

/// What one target answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The target.
    pub target: String,
    /// Whether the command succeeded there.
    pub ok: bool,
    /// How it failed, in a few words.
    pub said: String,
    /// What to do about it; empty if nothing is known.
    pub hint: String,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Returns a line of output with its target before it.
pub fn line(target: &str, text: &str, error: bool) -> Line {
    let tone = if error { Tone::Err } else { Tone::Plain };
    Line::new().with(Tone::Info, target).with(Tone::Dim, ": ").with(tone, text)
}

/// Returns all answers: each group under the names of its targets, then a sum. With `only_sum`, the sum and the failures.
pub fn lines(style: &Style, answers: &[Answered], only_sum: bool) -> Vec<Line> {
    type Answer<'a> = (bool, &'a str, &'a str, &'a str, &'a str);
    let mut groups: BTreeMap<(bool, usize), (Answer<'_>, Vec<&str>)> = BTreeMap::new();
    let mut places: BTreeMap<Answer<'_>, usize> = BTreeMap::new();
    for (at, one) in answers.iter().enumerate() {
        let (said, hint) = (one.said.as_str(), one.hint.as_str());
        let answer = (!one.ok, said, hint, one.out.as_str(), one.err.as_str());
        let place = *places.entry(answer).or_insert(at);
        groups.entry((!one.ok, place)).or_insert((answer, Vec::new())).1.push(&one.target);
    }
    let mut lines = Vec::new();
    for ((failed, said, hint, out, err), names) in groups.into_values() {
        if only_sum && !failed {
            continue;
        }
        lines.push(heading(style, &names, failed, said));
        for (text, tone) in [(out, Tone::Plain), (err, Tone::Err)] {
            lines.extend(text.lines().map(|text| Line::new().with(tone, text)));
        }
        if !hint.is_empty() {
            lines.push(Line::new().with(Tone::Info, "help: ").with(Tone::Plain, hint));
        }
    }
    let failed = answers.iter().filter(|answer| !answer.ok).count();
    if answers.len() > 1 || failed > 0 {
        let (tone, text) = match failed {
            0 => (Tone::Good, format!("{} targets", answers.len())),
            failed => (Tone::Bad, format!("{failed} of {} failed", answers.len())),
        };
        lines.push(Line::new());
        lines.push(Line::new().with(tone, text));
    }
    lines
}

fn heading(style: &Style, names: &[&str], failed: bool, said: &str) -> Line {
    let dash = style.pick("─── ", "--- ");
    let mut line = Line::new().with(Tone::Dim, dash);
    let tone = if failed { Tone::Bad } else { Tone::Strong };
    line.push(tone, &names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", "));
    if let Some(more) = names.len().checked_sub(NAMES).filter(|more| *more > 0) {
        line.push(Tone::Dim, &format!(" and {more} more"));
    }
    if names.len() > 1 {
        line.push(Tone::Dim, &format!(" ({})", names.len()));
    }
    if !said.is_empty() {
        line.push(Tone::Dim, style.dot());
        line.push(tone, said);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::text_of;

    fn one(target: &str, ok: bool, said: &str, out: &str) -> Answered {
        let text = |text: &str| text.to_owned();
        let (hint, err) = (String::new(), String::new());
        Answered { target: text(target), ok, said: text(said), hint, out: text(out), err }
    }

    #[test]
    fn equal_answers_stand_together_and_failures_last() {
        let answers = [
            one("a", true, "", "12.1"),
            one("b", false, "status 3", ""),
            one("c", true, "", "12.2"),
            one("d", true, "", "12.1"),
            Answered { hint: "Wake it.".to_owned(), ..one("e", false, "asleep", "") },
        ];
        let style = Style::plain();
        insta::assert_snapshot!(text_of(&lines(&style, &answers, false), false), @"
        ─── a, d (2)
        12.1
        ─── c
        12.2
        ─── b · status 3
        ─── e · asleep
        help: Wake it.

        2 of 5 failed
        ");
        insta::assert_snapshot!(text_of(&lines(&style, &answers[..1], false), false), @"
        ─── a
        12.1
        ");
    }
}
