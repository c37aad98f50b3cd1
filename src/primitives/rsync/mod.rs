//! rsync: on the target, between two of its directories or with another machine that it reaches by itself; and between
//! the machine that upgrade-host runs on and the target, over the session that there is.

mod action;
mod end;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod output;
mod sides;
#[cfg(test)]
mod tests;
mod through;

use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::json;

use super::bridge::{
    Face, Options, Primitive, RhaiResultOf, Type, act, field, raise, texts, to_dynamic, type_name,
    wrong,
};
use crate::effect::Registry;
use action::Rsync;
use sides::{Side, connected};

const RSYNC: Primitive = Primitive {
    name: "rsync",
    family: "rsync",
    summary: "Copies with rsync: modes, owners, times, links, and ACLs and attributes where it can. Paths are on the target, unless they begin with `local:`: those are on the machine that upgrade-host runs on, and the copy goes over the session that there is, without another login. As rsync has it, `/a/b/` copies what is in the directory and `/a/b` the directory itself.",
    params: &[
        field(
            "from",
            Type::TextOrList,
            "",
            "An absolute path on the target, or several; `local:/path` on the machine that upgrade-host runs on; or a spec such as `user@host:/path` or `rsync://host/module`, which the target reaches by itself.",
        ),
        field(
            "to",
            Type::Text,
            "",
            "The directory that it goes into, named likewise; made if it is not there.",
        ),
    ],
    options: &[
        field(
            "exclude",
            Type::TextOrList,
            "",
            "Patterns of what is left out, as rsync's `--exclude`.",
        ),
        field(
            "include",
            Type::TextOrList,
            "",
            "Patterns of what is copied though `exclude` matches; they come first.",
        ),
        field(
            "delete",
            Type::Bool,
            "false",
            "Deletes at the target what the source does not have.",
        ),
        field("checksum", Type::Bool, "false", "Compares contents instead of sizes and times."),
        field("bandwidth", Type::Size, "no limit", "Bytes a second at most: `\"20MiB\"`."),
        field(
            "relative",
            Type::Bool,
            "false",
            "Keeps the whole path of each source at the target, as rsync's `--relative`.",
        ),
        field("options", Type::TextOrList, "", "More options of rsync."),
        field("timeout", Type::Duration, "none", "How long one pass may take."),
        field(
            "within",
            Type::Duration,
            "one pass",
            "Repeats passes until the last one took no longer than this, or the next one is predicted not to.",
        ),
        field("passes_max", Type::Int, "5", "How many passes at most with `within`."),
        field("dry", Type::Bool, "false", "Copies nothing; returns what would be copied."),
    ],
    returns: "map: `files`, `bytes`, `total_bytes`, `seconds`, `deleted`, `changed` (bool), `passes`, `fits` (bool: with `within`, whether the last or next pass is short enough)",
    example: r#"let copy = rsync("local:/srv/site/", "/var/www/site/", #{ exclude: ["*.tmp"], delete: true });"#,
    failure: "`not_found` if rsync, on either side, or a source is not there, with what to install; `conflict` if there is no space left; `denied`; `connect` for another machine; `exit` with rsync's words. Files that vanish meanwhile are a warning.",
    plan: "Makes a dry run for real: the first 20 changes, how many more, files and bytes; says so if everything is in step.",
    undo: "Nothing: the copy stays, and the source is untouched.",
    resume: "Runs again, once the one that was cut off has ended: rsync copies what is missing. What it had of a file when it was cut off is kept in `.upgrade-host-partial` beside it and used, never put in place; with `--inplace` or `--append` among the `options` that is up to them.",
};

/// Options that would make what is said about the primitive untrue.
const REFUSED: &[(&str, &str)] = &[
    ("--remove-source-files", "the source is to stay as it is; remove it with `remove` afterwards"),
    ("--daemon", "it starts a server"),
    ("--server", "it is rsync's own"),
    ("--dry-run", "give `dry: true`"),
    ("-n", "give `dry: true`"),
    ("--files-from=-", "standard input is empty; write the list to a file"),
];

/// Options, or what they begin with, that cannot be had where rsync goes over our session.
const REFUSED_THROUGH: &[(&str, &str)] = &[
    ("-e", "it goes over the session that there is"),
    ("--rsh", "it goes over the session that there is"),
    ("--rsync-path", "it runs as the target's user, or as whom its `sudo` says"),
    ("-s", "paths are quoted already"),
    ("--protect-args", "paths are quoted already"),
    ("--secluded-args", "paths are quoted already"),
];

/// Returns why an option is refused.
fn refused(option: &str, through: bool) -> Option<String> {
    let name = option.split('=').next().unwrap_or_default();
    let always = REFUSED.iter().find(|(refused, _)| *refused == option);
    let here = || {
        REFUSED_THROUGH.iter().filter(|_| through).find(|(refused, _)| {
            let long = refused.starts_with("--");
            if long { *refused == name } else { option.starts_with(refused) }
        })
    };
    always.or_else(here).map(|(_, why)| format!("`{option}` is refused: {why}"))
}

fn rsync(
    ctx: &NativeCallContext<'_>,
    from: &Dynamic,
    to: &str,
    options: Map,
) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &RSYNC, options)?;
    let side = |text: &str| {
        Side::new(text).map_err(|mut failure| {
            failure.message = format!("rsync: {}", failure.message);
            raise(ctx, failure.into())
        })
    };
    let from = if let Ok(text) = from.clone().into_string() {
        vec![text]
    } else if from.is_array() {
        texts(from).map_err(|why| wrong(ctx, format!("rsync: `from`: {why}")))?
    } else {
        return Err(wrong(
            ctx,
            format!("rsync: `from` is text or a list of texts, found {}", type_name(from)),
        ));
    };
    if from.is_empty() {
        return Err(wrong(ctx, "rsync: `from` is an empty list"));
    }
    let from = from.iter().map(|text| side(text)).collect::<RhaiResultOf<Vec<_>>>()?;
    let to = side(to)?;
    connected(&from, &to).map_err(|mut failure| {
        failure.message = format!("rsync: {}", failure.message);
        raise(ctx, failure.into())
    })?;
    let through = to.is_here() || from.iter().any(Side::is_here);
    let extra = options.texts("options")?;
    for option in &extra {
        if let Some(why) = refused(option, through) {
            return Err(options.wrong("options", &why));
        }
        if !option.starts_with('-') || option == "--" {
            return Err(
                options.wrong("options", &format!("`{option}` is no option; write `--name=value`"))
            );
        }
    }
    let millis = |key| -> RhaiResultOf<Option<u64>> {
        Ok(options.duration(key)?.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    };
    let passes = options.int("passes_max").unwrap_or(5);
    let passes_max = u32::try_from(passes).ok().filter(|passes| *passes > 0).ok_or_else(|| {
        options.wrong("passes_max", &format!("expected a number from 1, found {passes}"))
    })?;
    let dry = options.flag("dry", false);
    if dry && options.has("within") {
        return Err(options.wrong("within", "a dry run has one pass"));
    }
    let action = Rsync {
        from,
        to,
        exclude: options.texts("exclude")?,
        include: options.texts("include")?,
        delete: options.flag("delete", false),
        checksum: options.flag("checksum", false),
        bandwidth: options.size("bandwidth")?,
        options: extra,
        timeout_ms: millis("timeout")?,
        until_ms: millis("within")?,
        passes_max,
        relative: options.flag("relative", false),
        dry,
    };
    let copied = act(ctx, &action)?;
    Ok(to_dynamic(json!({
        "files": copied.files,
        "bytes": copied.bytes,
        "total_bytes": copied.total_bytes,
        "seconds": copied.passes.iter().sum::<f64>(),
        "deleted": copied.deleted,
        "changed": copied.changed,
        "passes": copied.passes.len(),
        "fits": copied.fits,
    })))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&RSYNC, |ctx: NativeCallContext<'_>, from: Dynamic, to: &str| {
        rsync(&ctx, &from, to, Map::new())
    });
    face.add(&RSYNC, |ctx: NativeCallContext<'_>, from: Dynamic, to: &str, options: Map| {
        rsync(&ctx, &from, to, options)
    });
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Rsync>();
}
