//! Questions at the terminal: a line from stdin, the text of the question to stderr. Ctrl-C is no answer.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::editor::{Editor, Key};
use crate::effect::Question;
use crate::report::Style;
use crate::secret::Secret;

/// How often it is looked whether the question is still wanted.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

type Interrupted<'a> = &'a dyn Fn() -> bool;

/// How long the signal that a terminal was closed is waited for.
const HUNG_UP: Duration = Duration::from_secs(1);

/// Asks for a secret.
pub(super) fn secret(style: &Style, text: &str, interrupted: Interrupted<'_>) -> Option<Secret> {
    let prompt = format!("{} {}: ", mark(style), text.trim_end_matches([':', ' ']));
    let editor = read(&prompt, false, interrupted)?;
    Some(Secret::new(editor.text().to_owned()))
}

/// Asks a question until the answer fits.
pub(super) fn question(
    style: &Style,
    question: &Question,
    interrupted: Interrupted<'_>,
) -> Option<String> {
    let mut prompt = asked(style, question);
    loop {
        let typed = read(&prompt, true, interrupted)?;
        match answer(question, typed.text()) {
            Ok(answer) => return Some(answer),
            Err(again) => prompt = again,
        }
    }
}

/// The text of a question, up to where the answer is typed.
pub(super) fn asked(style: &Style, question: &Question) -> String {
    let mark = mark(style);
    match question {
        Question::Confirm { text, default } => {
            let keys = match default {
                Some(true) => "[Y/n]",
                Some(false) => "[y/N]",
                None => "[y/n]",
            };
            format!("{mark} {text} {keys} ")
        }
        Question::Text { text, default: Some(default) } => format!("{mark} {text} [{default}] "),
        Question::Text { text, default: None } => format!("{mark} {text} "),
        Question::Choose { text, options, default } => {
            let mut shown = format!("{mark} {text}\n");
            for (number, option) in options.iter().enumerate() {
                let note = if default.as_ref() == Some(option) { " (default)" } else { "" };
                let _infallible = writeln!(shown, "  {}  {option}{note}", number + 1);
            }
            let _infallible = write!(shown, "  1-{}: ", options.len());
            shown
        }
    }
}

/// Takes what was typed as an answer, or says what is wrong with it.
pub(super) fn answer(question: &Question, typed: &str) -> Result<String, String> {
    let typed = typed.trim();
    if let ("", Some(default)) = (typed, question.default()) {
        return Ok(default);
    }
    match question {
        Question::Confirm { .. } => match typed.to_lowercase().as_str() {
            "y" | "yes" => Ok("yes".to_owned()),
            "n" | "no" => Ok("no".to_owned()),
            _ => Err("  yes or no, or Ctrl-C to leave it open: ".to_owned()),
        },
        Question::Text { .. } if typed.is_empty() => {
            Err("  some text, or Ctrl-C to leave it open: ".to_owned())
        }
        Question::Text { .. } => Ok(typed.to_owned()),
        Question::Choose { options, .. } => {
            let numbered = typed.parse::<usize>().ok().and_then(|at| at.checked_sub(1));
            if let Some(option) = numbered.and_then(|at| options.get(at)) {
                return Ok(option.clone());
            }
            let lower = typed.to_lowercase();
            let exact = options.iter().find(|option| option.to_lowercase() == lower);
            let mut near =
                options.iter().filter(|option| option.to_lowercase().starts_with(&lower));
            match (exact, near.next(), near.next()) {
                (Some(option), ..) | (None, Some(option), None) if !typed.is_empty() => {
                    Ok(option.clone())
                }
                _ => Err(format!(
                    "  a number from 1 to {}, or Ctrl-C to leave it open: ",
                    options.len()
                )),
            }
        }
    }
}

fn mark(style: &Style) -> &'static str {
    if style.color { "\u{1b}[36m?\u{1b}[0m" } else { "?" }
}

fn show(text: &str) {
    let mut err = anstream::stderr().lock();
    // If the terminal is gone, reading the answer ends as well.
    let _gone = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// The terminal's modes as they were, restored however reading ends.
struct Modes(Termios);

impl Drop for Modes {
    fn drop(&mut self) {
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Reads a line key by key; none if it is given up, interrupted or the terminal goes away.
fn read(prompt: &str, echo: bool, interrupted: Interrupted<'_>) -> Option<Editor> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut raw = before.clone();
    let modes = Modes(before);
    raw.local_modes -=
        LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
    // Only now: what is typed as soon as the question stands there must not be echoed, nor its Ctrl-C kill us.
    show(prompt);
    let mut editor = Editor::default();
    let mut gone = None;
    let done = loop {
        if interrupted() {
            break None;
        }
        let stdin = io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => break None,
        }
        // Byte by byte and past std's buffer, so that what is typed ahead stays for the next question.
        let mut byte = [0];
        match rustix::io::read(&stdin, &mut byte) {
            Ok(1) => {}
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            // The terminal is gone. A signal says so as well, a moment later, and is what closes the question.
            _ if gone.get_or_insert_with(Instant::now).elapsed() < HUNG_UP => {
                std::thread::sleep(HUNG_UP / 50);
                continue;
            }
            _ => break None,
        }
        match editor.key(byte[0]) {
            Key::Show(text) if echo => show(&text),
            Key::Show(_) => {}
            Key::Enter => break Some(editor),
            Key::GivenUp => break None,
        }
    };
    drop(modes);
    show("\n");
    done
}
