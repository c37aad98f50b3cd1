//! Telling: `note`, `warn`. They are events, and records of the run; a replay does not repeat them.

use rhai::{Dynamic, NativeCallContext};

use super::bridge::{Face, Primitive, RhaiResultOf, Type, field, lane, raise};
use crate::effect::Registry;
use crate::event::What;
use crate::journal::Body;

const NOTE: Primitive = Primitive {
    name: "note",
    family: "notify",
    summary: "Tells the operator something, and keeps it in the run's record.",
    params: &[field("text", Type::Any, "", "What.")],
    options: &[],
    returns: "(): nothing",
    example: r"note(`the listing takes ${seconds} s`);",
    failure: "Does not fail.",
    plan: "Tells it.",
    undo: "Nothing.",
    resume: "Not told again.",
};

const WARN: Primitive = Primitive {
    name: "warn",
    family: "notify",
    summary: "Warns the operator, and keeps it in the run's record.",
    params: &[field("text", Type::Any, "", "What.")],
    options: &[],
    returns: "(): nothing",
    example: r#"warn("the window is shorter than the estimate");"#,
    failure: "Does not fail.",
    plan: "Tells it.",
    undo: "Nothing.",
    resume: "Not told again.",
};

/// Tells a text as a note or warning.
///
/// # Errors
/// If the journal cannot be written.
pub(crate) fn tell(ctx: &NativeCallContext<'_>, text: &Dynamic, warning: bool) -> RhaiResultOf<()> {
    let lane = lane(ctx)?;
    let text = lane.run().redactor.text(&text.to_string());
    let news = lane.record(Body::Note { text: text.clone(), warning });
    if news.map_err(|halt| raise(ctx, halt))? {
        lane.emit(if warning { What::Warning { text } } else { What::Note { text } });
    }
    Ok(())
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&NOTE, |ctx: NativeCallContext<'_>, text: Dynamic| tell(&ctx, &text, false));
    face.add(&WARN, |ctx: NativeCallContext<'_>, text: Dynamic| tell(&ctx, &text, true));
}

/// The family has no actions.
pub(super) fn actions(_registry: &mut Registry) {}
