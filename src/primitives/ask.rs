//! Questions to the operator: `ask`, `confirm`, `choose`. The answer is recorded; nobody is asked twice.

use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{Face, Options, Primitive, RhaiResultOf, Type, ask, field, texts, wrong};
use crate::call::Access;
use crate::effect::{Cx, Query, Question, Registry};
use crate::error::{Pause, Result, Stop};

const ASK: Primitive = Primitive {
    name: "ask",
    family: "ask",
    summary: "Asks the operator for a line of text.",
    params: &[field("question", Type::Text, "", "The question.")],
    options: &[field("safe", Type::Text, "", "The answer that is safe: taken by `--yes`.")],
    returns: "String: the answer",
    example: r#"let ticket = ask("Which ticket is this for?");"#,
    failure: "Pauses the run if nobody is there to ask.",
    plan: "Says that it would ask, and goes on with the safe answer.",
    undo: "Nothing.",
    resume: "The recorded answer; asks if there is none.",
};

const CONFIRM: Primitive = Primitive {
    name: "confirm",
    family: "ask",
    summary: "Asks the operator for yes or no.",
    params: &[field("question", Type::Text, "", "The question.")],
    options: &[field("safe", Type::Bool, "", "The answer that is safe: taken by `--yes`.")],
    returns: "bool: the answer",
    example: r#"if !confirm("Go on?", #{ safe: true }) { fail("the operator said no"); }"#,
    failure: "Pauses the run if nobody is there to ask.",
    plan: "Says that it would ask, and goes on with the safe answer, or yes.",
    undo: "Nothing.",
    resume: "The recorded answer; asks if there is none.",
};

const CHOOSE: Primitive = Primitive {
    name: "choose",
    family: "ask",
    summary: "Lets the operator choose one of several.",
    params: &[
        field("question", Type::Text, "", "The question."),
        field("options", Type::List, "", "What can be chosen."),
    ],
    options: &[field("safe", Type::Text, "", "The answer that is safe: taken by `--yes`.")],
    returns: "String: what was chosen",
    example: r#"let way = choose("Jobs are running.", ["wait", "go on"], #{ safe: "wait" });"#,
    failure: "Pauses the run if nobody is there to ask.",
    plan: "Says that it would ask, and goes on with the safe answer, or the first.",
    undo: "Nothing.",
    resume: "The recorded answer; asks if there is none.",
};

/// A question as a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Answer(Question);

impl Query for Answer {
    const NAME: &'static str = "ask";
    const ACCESS: Access = Access::Ask;
    type Output = String;

    fn summary(&self) -> String {
        format!("ask: {}", self.0.text())
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<String> {
        let run = cx.lane.run();
        if run.yes
            && let Some(default) = self.0.default()
        {
            return Ok(default);
        }
        run.asker.ask(&self.0).ok_or_else(|| {
            if run.cancel.is_cancelled() {
                return Stop::Cancelled.into();
            }
            let why = format!("a question needs an answer: {}", self.0.text());
            Stop::Paused(Pause { why, until: None, unknown: false }).into()
        })
    }

    fn assume(&self) -> Option<String> {
        Some(self.0.default().unwrap_or_else(|| match &self.0 {
            Question::Confirm { .. } => "yes".to_owned(),
            Question::Text { .. } => String::new(),
            Question::Choose { options, .. } => options.first().cloned().unwrap_or_default(),
        }))
    }

    fn result(&self, output: &String) -> Option<String> {
        Some(output.clone())
    }
}

fn text(ctx: &NativeCallContext<'_>, text: &str, options: Map) -> RhaiResultOf<String> {
    let options = Options::new(ctx, &ASK, options)?;
    ask(ctx, Answer(Question::Text { text: text.to_owned(), default: options.text("safe") }))
}

fn confirm(ctx: &NativeCallContext<'_>, text: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &CONFIRM, options)?;
    let default = options.get("safe").and_then(|value| value.as_bool().ok());
    Ok(ask(ctx, Answer(Question::Confirm { text: text.to_owned(), default }))? == "yes")
}

fn choose(
    ctx: &NativeCallContext<'_>,
    text: &str,
    choices: Array,
    options: Map,
) -> RhaiResultOf<String> {
    let options = Options::new(ctx, &CHOOSE, options)?;
    let choices =
        texts(&Dynamic::from_array(choices)).map_err(|why| wrong(ctx, format!("choose: {why}")))?;
    let default = options.text("safe");
    if choices.is_empty() {
        return Err(wrong(ctx, "choose: there is nothing to choose from"));
    }
    if let Some(default) = &default
        && !choices.contains(default)
    {
        return Err(options.wrong("safe", &format!("`{default}` is none of the choices")));
    }
    ask(ctx, Answer(Question::Choose { text: text.to_owned(), options: choices, default }))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&ASK, |ctx: NativeCallContext<'_>, question: &str| text(&ctx, question, Map::new()));
    face.add(&ASK, |ctx: NativeCallContext<'_>, question: &str, options: Map| {
        text(&ctx, question, options)
    });
    face.add(&CONFIRM, |ctx: NativeCallContext<'_>, question: &str| {
        confirm(&ctx, question, Map::new())
    });
    face.add(&CONFIRM, |ctx: NativeCallContext<'_>, question: &str, options: Map| {
        confirm(&ctx, question, options)
    });
    face.add(&CHOOSE, |ctx: NativeCallContext<'_>, question: &str, choices: Array| {
        choose(&ctx, question, choices, Map::new())
    });
    face.add(
        &CHOOSE,
        |ctx: NativeCallContext<'_>, question: &str, choices: Array, options: Map| {
            choose(&ctx, question, choices, options)
        },
    );
}

/// The family changes nothing.
pub(super) fn actions(_registry: &mut Registry) {}
