//! Files and directories: read, write, replace, copy, upload, download, move, remove, make, unpack, checksum. Changes
//! are atomic.
//!
//! What a change overwrites or removes is renamed beside its place, as `.upgrade-host-RUN-CALL-…`, and listed in the
//! run's directory on the target before it comes to be. So undo is a rename, works in another process days later, and
//! [`clean_script`] finds everything at the end of the run.

mod back;
mod clean;
mod joined;
mod listing;
pub(super) mod own;
pub(super) mod path;
mod place;
mod read;
mod restore;
pub(super) mod shell;
mod state;
#[cfg(test)]
mod tests;
mod transfer;
mod tree;
mod unpack;
mod write;

use rhai::{Dynamic, Map, NativeCallContext};

use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, raise, to_dynamic,
    type_name, wrong,
};
use crate::effect::{Registry, SecretRef};
use crate::error::Failure;

use back::TakeBack;
pub use clean::{clean_receipts_script, clean_script, needs_kept};
use path::At;
use place::{Copy, MakeDir, Move, MoveBack, Remove, UnmakeDir};
use read::{Checksum, Exists, FileInfo, LIMIT, ReadFile};
use restore::Restore;
pub(super) use state::require;
use transfer::{Download, Upload};
use unpack::{Unpack, UnpackDry, UnpackUndo};
use write::{Content, ReplaceInFile, WriteFile};

const PATH: Field = field("path", Type::Text, "", "The absolute path on the target.");
const FROM: Field = field("from", Type::Text, "", "The absolute path of what is there.");
const TO: Field = field(
    "to",
    Type::Text,
    "",
    "The absolute path that it gets; with a slash at its end, the directory that it goes into.",
);
const MODE: Field = field("mode", Type::Text, "", "The permission bits, octal: `\"0640\"`.");
const OWNER: Field = field("owner", Type::Text, "", "`user`, `user:group` or `:group`.");

const READS: &str = "Reads for real.";
const ONLY_READS: &str = "Nothing: it only reads.";
const READ_AGAIN: &str = "Returns what was read; reads again if that was not recorded.";

const READ_FILE: Primitive = Primitive {
    name: "read_file",
    family: "files",
    summary: "Reads a text file.",
    params: &[PATH],
    options: &[field("max", Type::Size, "\"16MiB\"", "The largest size that is read.")],
    returns: "text: what is in it",
    example: r#"let version = read_file("/usr/local/obs/conf/version.txt");"#,
    failure: "`not_found` if it is not there, `denied`, `conflict` if it is a directory, `input` if it is larger than `max` or not UTF-8.",
    plan: READS,
    undo: ONLY_READS,
    resume: READ_AGAIN,
};

const WRITE_FILE: Primitive = Primitive {
    name: "write_file",
    family: "files",
    summary: "Writes a file, atomically: others see the old content or the new, never a part.",
    params: &[PATH, field("content", Type::TextOrSecret, "", "What is to be in it.")],
    options: &[
        MODE,
        OWNER,
        field("backup", Type::Bool, "false", "Keeps the old file for good, as `PATH.RUN`."),
    ],
    returns: "bool: true if it changed something",
    example: r#"write_file("/etc/obs/motd", "maintenance\n", #{ mode: "0644" });"#,
    failure: "`not_found` if its directory is not there, `conflict` if it is no file or there is no space, `denied`.",
    plan: "Says whether it is so already, else the lines that change if everybody may read the file.",
    undo: "Puts the old file back, or removes the new one.",
    resume: "Looks at what is in it; writes it again if that is not the new content.",
};

const REPLACE_IN_FILE: Primitive = Primitive {
    name: "replace_in_file",
    family: "files",
    summary: "Replaces what matches in a text file, atomically; `^` and `$` match at lines.",
    params: &[
        PATH,
        field("pattern", Type::Text, "", "A regular expression."),
        field(
            "replacement",
            Type::Text,
            "",
            "What comes there; `$1` or `${name}` for what groups matched.",
        ),
    ],
    options: &[
        field("literal", Type::Bool, "false", "Takes pattern and replacement as they are."),
        field(
            "count",
            Type::Any,
            "\"all\"",
            "How many places at most, from the beginning; or `\"all\"`.",
        ),
        field(
            "must_match",
            Type::Bool,
            "true",
            "Fails if nothing matches and the replacement is not there already.",
        ),
    ],
    returns: "int: the number of places replaced",
    example: r#"replace_in_file("/usr/local/obs/conf/rpsSend.xml", "enable=\"Y\"", "enable=\"N\"");"#,
    failure: "`not_found` if nothing matches, `input` if the pattern is none, `conflict` if the file changes meanwhile.",
    plan: "Says how many places match, and the lines that change if everybody may read the file.",
    undo: "Puts the old file back.",
    resume: "Goes by the digest: the old content is changed, the new one is taken as done, another is a conflict.",
};

const COPY: Primitive = Primitive {
    name: "copy",
    family: "files",
    summary: "Makes one path a copy of another: a file or a whole directory, with modes, owners and times.",
    params: &[FROM, TO],
    options: &[
        MODE,
        OWNER,
        field(
            "overwrite",
            Type::Bool,
            "true",
            "Replaces what is there; a directory is replaced as a whole.",
        ),
    ],
    returns: "bool: true if it changed something",
    example: r#"copy("/usr/local/obs/conf", "/var/backups/obs-conf");"#,
    failure: "`not_found`, `conflict` if the place holds something of another kind or there is no space, `denied`.",
    plan: "Says whether both are the same by their digests, and what would be replaced.",
    undo: "Takes the copy away and puts back what it replaced.",
    resume: "Compares; copies again if they differ.",
};

const UPLOAD: Primitive = Primitive {
    name: "upload",
    family: "files",
    summary: "Sends a file or a directory from the machine that upgrade-host runs on to the target. It is shown once it is whole and its digest is right. A directory is replaced as a whole, and goes as a stream of `tar`; `rsync` sends only what differs.",
    params: &[
        field(
            "from",
            Type::Text,
            "",
            "The absolute path on the machine that upgrade-host runs on.",
        ),
        TO,
    ],
    options: &[
        field("mode", Type::Text, "", "The permission bits of a file, octal: `\"0640\"`."),
        OWNER,
    ],
    returns: "bool: true if it changed something",
    example: r#"upload("/srv/packages/obsr-5.5.3.tar.gz", "/root/");"#,
    failure: "`not_found` if it, its directory or, for a directory, `tar` on either side is not there; `denied`; `conflict` if the place holds something of another kind or there is no space; `check` if what arrived is not what was sent.",
    plan: "Says whether it is there already by its digest, how much would be sent and what would be replaced.",
    undo: "Takes it away and puts back what it replaced.",
    resume: "Goes on from what has arrived of a file; a directory is sent anew.",
};

const DOWNLOAD: Primitive = Primitive {
    name: "download",
    family: "files",
    summary: "Fetches a file or a directory from the target to the machine that upgrade-host runs on. It is shown once it is whole and its digest is right. A directory goes as a stream of `tar`; `rsync` fetches only what differs.",
    params: &[
        FROM,
        field(
            "to",
            Type::Text,
            "",
            "The absolute path on the machine that upgrade-host runs on; with a slash at its end, the directory that it goes into.",
        ),
    ],
    options: &[field(
        "overwrite",
        Type::Bool,
        "false",
        "Replaces another file, or another directory, that is there.",
    )],
    returns: "bool: true if it changed something",
    example: r#"download("/var/log/obsr.log", "/srv/reports/");"#,
    failure: "`not_found`, `denied`, `conflict` if something else is there, `check` if it changed meanwhile.",
    plan: "Says whether it is here already by its digest, and how much would be fetched.",
    undo: "Nothing: the copy stays, and the target is untouched.",
    resume: "Goes on from what has arrived of a file; a directory is fetched anew.",
};

const MOVE: Primitive = Primitive {
    name: "move",
    family: "files",
    summary: "Moves a file or a directory; on another file system by a copy that is shown when it is whole.",
    params: &[FROM, TO],
    options: &[field("overwrite", Type::Bool, "false", "Replaces what is there.")],
    returns: "bool: true",
    example: r#"move("/usr/local/obs", "/usr/local/obs-5.5.2");"#,
    failure: "`not_found`, `conflict` if something is there or there is no space, `denied`.",
    plan: "Says what would be moved and replaced, and whether it has to be copied.",
    undo: "Moves it back and puts back what it replaced.",
    resume: "Looks at what is where and goes on.",
};

const REMOVE: Primitive = Primitive {
    name: "remove",
    family: "files",
    summary: "Removes a file or a directory; it is kept beside its place until the run ends.",
    params: &[PATH],
    options: &[
        field("recursive", Type::Bool, "false", "Removes a directory with what is in it."),
        field(
            "keep",
            Type::Bool,
            "true",
            "Keeps it for undo until the run ends; `false` frees the space at once.",
        ),
    ],
    returns: "bool: true if something was there",
    example: r#"remove("/usr/local/obs/temp", #{ recursive: true });"#,
    failure: "`input` for directories of the system, `conflict` for a directory that holds something, `denied`.",
    plan: "Says what is there.",
    undo: "Puts it back by a rename; impossible with `keep: false`.",
    resume: "Looks whether it is still there.",
};

const MAKE_DIR: Primitive = Primitive {
    name: "make_dir",
    family: "files",
    summary: "Makes a directory, with those on the way to it.",
    params: &[PATH],
    options: &[
        MODE,
        OWNER,
        field(
            "parents",
            Type::Bool,
            "true",
            "Makes directories on the way too, with the default mode.",
        ),
    ],
    returns: "bool: true if it changed something",
    example: r#"make_dir("/var/backups/obs", #{ mode: "0700" });"#,
    failure: "`conflict` if something on the way is no directory, `not_found` with `parents: false`, `denied`.",
    plan: "Says which directories would be made.",
    undo: "Removes those that were made, as far as they are empty; gives an old one its mode and owner back.",
    resume: "Looks which are missing.",
};

const UNPACK: Primitive = Primitive {
    name: "unpack",
    family: "files",
    summary: "Unpacks an archive (tar, plain or with gzip, bzip2, xz, zstd; zip) over a directory. Directories that are there keep their mode and owner, and links to directories stay.",
    params: &[
        field(
            "archive",
            Type::Text,
            "",
            "The absolute path of the archive; its format is found out by its content.",
        ),
        field("directory", Type::Text, "", "The directory, which must be there."),
    ],
    options: &[
        field(
            "exclude",
            Type::TextOrList,
            "",
            "Globs of names in the archive to leave out, as tar's `--exclude` (unzip's `-x`) knows them.",
        ),
        field("strip", Type::Int, "0", "How many leading parts of each name go away."),
        field(
            "owner",
            Type::Text,
            "whoever unpacks",
            "`\"keep\"` for the archive's owners, or `user:group`.",
        ),
        field(
            "links",
            Type::Text,
            "\"inside\"",
            "`\"any\"` accepts symbolic links that lead out of the directory.",
        ),
        field("dry", Type::Bool, "false", "Unpacks nothing; makes sure that it could be unpacked."),
    ],
    returns: "bool: true",
    example: r#"unpack("/root/obsr-5.5.3.tar.gz", "/usr/local/obs", #{ exclude: ["conf/*"] });"#,
    failure: "`input` before anything changed: no archive, a damaged one, absolute paths, `..`, devices, links that lead out. `not_found` names the tool that is missing.",
    plan: "Lists the archive for real: how many files it replaces, which, and how many it adds.",
    undo: "Removes what it added, and only that, and puts back what it replaced, which was saved first.",
    resume: "Unpacks again unless it was at its end; what was saved before the first attempt stays as it is.",
};

const CHECKSUM: Primitive = Primitive {
    name: "checksum",
    family: "files",
    summary: "Takes the SHA-256 of a file, or of everything in a directory: names, types, modes, sizes, contents, links.",
    params: &[PATH],
    options: &[field(
        "exclude",
        Type::TextOrList,
        "",
        "Globs of names, or of paths within the directory, to leave out.",
    )],
    returns: "text: 64 hexadecimal digits",
    example: r#"let before = checksum("/usr/local/obs/conf", #{ exclude: ["*.log"] });"#,
    failure: "`not_found`, `denied`, `conflict` if it is neither a file nor a directory.",
    plan: READS,
    undo: ONLY_READS,
    resume: READ_AGAIN,
};

const EXISTS: Primitive = Primitive {
    name: "exists",
    family: "files",
    summary: "Tells whether something is at a path, be it a link that leads nowhere.",
    params: &[PATH],
    options: &[],
    returns: "bool: true if something is there",
    example: r#"if exists("/usr/local/obs/conf/index.lock") { warn("an index is under way"); }"#,
    failure: "`denied` if the target does not let us see.",
    plan: READS,
    undo: ONLY_READS,
    resume: READ_AGAIN,
};

const FILE_INFO: Primitive = Primitive {
    name: "file_info",
    family: "files",
    summary: "Tells what is at a path; a link is told as a link.",
    params: &[PATH],
    options: &[],
    returns: "map: `type` (`file`, `directory`, `link`, `other`), `size`, `mode` (text), `user`, `group`, `modified` (seconds since 1970), `link`",
    example: r#"let size = file_info("/root/obsr-5.5.3.tar.gz").size;"#,
    failure: "`not_found` if nothing is there, `denied`.",
    plan: READS,
    undo: ONLY_READS,
    resume: READ_AGAIN,
};

type Ctx<'a> = NativeCallContext<'a>;

fn at(ctx: &Ctx<'_>, text: &str) -> RhaiResultOf<At> {
    fine(ctx, At::new(text))
}

fn fine<T>(ctx: &Ctx<'_>, result: Result<T, Box<Failure>>) -> RhaiResultOf<T> {
    result.map_err(|mut failure| {
        failure.message = format!("{}: {}", ctx.fn_name(), failure.message);
        raise(ctx, failure.into())
    })
}

fn mode(options: &Options<'_>) -> RhaiResultOf<Option<String>> {
    let mode = options.text("mode");
    if let Some(text) = &mode {
        state::check_mode(text).map_err(|why| options.wrong("mode", &why))?;
    }
    Ok(mode)
}

fn owner(options: &Options<'_>) -> RhaiResultOf<Option<String>> {
    let owner = options.text("owner");
    if let Some(text) = &owner {
        state::check_owner(text).map_err(|why| options.wrong("owner", &why))?;
    }
    Ok(owner)
}

fn globs(options: &Options<'_>) -> RhaiResultOf<Vec<String>> {
    let globs = options.texts("exclude")?;
    if globs
        .iter()
        .any(|glob| glob.is_empty() || glob.starts_with('-') || glob.contains(['\n', '\0']))
    {
        return Err(options
            .wrong("exclude", "a glob may not be empty, begin with `-` or hold a line break"));
    }
    Ok(globs)
}

fn read_file(ctx: &Ctx<'_>, path: &str, options: Map) -> RhaiResultOf<String> {
    let options = Options::new(ctx, &READ_FILE, options)?;
    let max = options.size("max")?.unwrap_or(LIMIT);
    ask(ctx, ReadFile { path: at(ctx, path)?, max })
}

fn write_file(ctx: &Ctx<'_>, path: &str, content: &Dynamic, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &WRITE_FILE, options)?;
    let content = if let Some(secret) = content.clone().try_cast::<SecretRef>() {
        Content::Secret(secret)
    } else {
        let text = content.clone().into_string().map_err(|_| {
            wrong(
                ctx,
                format!("write_file: `content` is text or a secret, found {}", type_name(content)),
            )
        })?;
        Content::Text(text)
    };
    let (mode, owner) = (mode(&options)?, owner(&options)?);
    let backup = options.flag("backup", false);
    act(ctx, &WriteFile { path: at(ctx, path)?, content, mode, owner, backup })
}

fn replace_in_file(
    ctx: &Ctx<'_>,
    [path, pattern, replacement]: [&str; 3],
    options: Map,
) -> RhaiResultOf<i64> {
    let options = Options::new(ctx, &REPLACE_IN_FILE, options)?;
    let count = match options.get("count") {
        None => None,
        Some(value) if value.is_string() && value.to_string() == "all" => None,
        Some(value) => match value.as_int().map(u64::try_from) {
            Ok(Ok(count)) if count > 0 => Some(count),
            _ => {
                return Err(options.wrong(
                    "count",
                    &format!("expected a number from 1 or \"all\", found `{value}`"),
                ));
            }
        },
    };
    if pattern.is_empty() {
        return Err(wrong(ctx, "replace_in_file: `pattern` is empty"));
    }
    let action = ReplaceInFile {
        path: at(ctx, path)?,
        pattern: pattern.to_owned(),
        replacement: replacement.to_owned(),
        literal: options.flag("literal", false),
        count,
        must_match: options.flag("must_match", true),
    };
    fine(ctx, action.regex())?;
    Ok(i64::try_from(act(ctx, &action)?).unwrap_or(i64::MAX))
}

fn copy(ctx: &Ctx<'_>, from: &str, to: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &COPY, options)?;
    let from = at(ctx, from)?;
    let to = fine(ctx, place::into(&from, to))?;
    let (mode, owner) = (mode(&options)?, owner(&options)?);
    act(ctx, &Copy { from, to, mode, owner, overwrite: options.flag("overwrite", true) })
}

fn upload(ctx: &Ctx<'_>, from: &str, to: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &UPLOAD, options)?;
    let from = at(ctx, from)?;
    let to = fine(ctx, place::into(&from, to))?;
    let (mode, owner) = (mode(&options)?, owner(&options)?);
    act(ctx, &Upload { from, to, mode, owner })
}

fn download(ctx: &Ctx<'_>, from: &str, to: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &DOWNLOAD, options)?;
    let from = at(ctx, from)?;
    let to = fine(ctx, place::into(&from, to))?;
    act(ctx, &Download { from, to, overwrite: options.flag("overwrite", false) })
}

fn move_to(ctx: &Ctx<'_>, from: &str, to: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &MOVE, options)?;
    let from = at(ctx, from)?;
    let to = fine(ctx, place::into(&from, to))?;
    act(ctx, &Move { from, to, overwrite: options.flag("overwrite", false) })
}

fn remove(ctx: &Ctx<'_>, path: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &REMOVE, options)?;
    let path = at(ctx, path)?;
    fine(ctx, path.expendable("remove"))?;
    let (recursive, keep) = (options.flag("recursive", false), options.flag("keep", true));
    act(ctx, &Remove { path, recursive, keep })
}

fn make_dir(ctx: &Ctx<'_>, path: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &MAKE_DIR, options)?;
    let (mode, owner) = (mode(&options)?, owner(&options)?);
    act(ctx, &MakeDir { path: at(ctx, path)?, mode, owner, parents: options.flag("parents", true) })
}

fn unpack_into(ctx: &Ctx<'_>, archive: &str, directory: &str, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &UNPACK, options)?;
    let strip = options.int("strip").unwrap_or(0);
    let strip = u32::try_from(strip).ok().filter(|strip| *strip < 100).ok_or_else(|| {
        options.wrong("strip", &format!("expected a number from 0 to 99, found {strip}"))
    })?;
    let any_links = match options.text("links").as_deref() {
        None | Some("inside") => false,
        Some("any") => true,
        Some(other) => {
            return Err(
                options.wrong("links", &format!("`{other}` is none of \"inside\", \"any\""))
            );
        }
    };
    let action = Unpack {
        archive: at(ctx, archive)?,
        directory: at(ctx, directory)?,
        exclude: globs(&options)?,
        strip,
        owner: owner(&options)?,
        any_links,
    };
    if options.flag("dry", false) {
        return ask(ctx, UnpackDry(action)).map(|_| true);
    }
    act(ctx, &action).map(|_| true)
}

fn checksum(ctx: &Ctx<'_>, path: &str, options: Map) -> RhaiResultOf<String> {
    let options = Options::new(ctx, &CHECKSUM, options)?;
    ask(ctx, Checksum { path: at(ctx, path)?, exclude: globs(&options)? })
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&READ_FILE, |ctx: Ctx<'_>, path: &str| read_file(&ctx, path, Map::new()));
    face.add(&READ_FILE, |ctx: Ctx<'_>, path: &str, options: Map| read_file(&ctx, path, options));
    face.add(&WRITE_FILE, |ctx: Ctx<'_>, path: &str, content: Dynamic| {
        write_file(&ctx, path, &content, Map::new())
    });
    face.add(&WRITE_FILE, |ctx: Ctx<'_>, path: &str, content: Dynamic, options: Map| {
        write_file(&ctx, path, &content, options)
    });
    face.add(&REPLACE_IN_FILE, |ctx: Ctx<'_>, path: &str, pattern: &str, replacement: &str| {
        replace_in_file(&ctx, [path, pattern, replacement], Map::new())
    });
    face.add(
        &REPLACE_IN_FILE,
        |ctx: Ctx<'_>, path: &str, pattern: &str, replacement: &str, options: Map| {
            replace_in_file(&ctx, [path, pattern, replacement], options)
        },
    );
    face.add(&COPY, |ctx: Ctx<'_>, from: &str, to: &str| copy(&ctx, from, to, Map::new()));
    face.add(&COPY, |ctx: Ctx<'_>, from: &str, to: &str, options: Map| {
        copy(&ctx, from, to, options)
    });
    face.add(&UPLOAD, |ctx: Ctx<'_>, from: &str, to: &str| upload(&ctx, from, to, Map::new()));
    face.add(&UPLOAD, |ctx: Ctx<'_>, from: &str, to: &str, options: Map| {
        upload(&ctx, from, to, options)
    });
    face.add(&DOWNLOAD, |ctx: Ctx<'_>, from: &str, to: &str| download(&ctx, from, to, Map::new()));
    face.add(&DOWNLOAD, |ctx: Ctx<'_>, from: &str, to: &str, options: Map| {
        download(&ctx, from, to, options)
    });
    face.add(&MOVE, |ctx: Ctx<'_>, from: &str, to: &str| move_to(&ctx, from, to, Map::new()));
    face.add(&MOVE, |ctx: Ctx<'_>, from: &str, to: &str, options: Map| {
        move_to(&ctx, from, to, options)
    });
    face.add(&REMOVE, |ctx: Ctx<'_>, path: &str| remove(&ctx, path, Map::new()));
    face.add(&REMOVE, |ctx: Ctx<'_>, path: &str, options: Map| remove(&ctx, path, options));
    face.add(&MAKE_DIR, |ctx: Ctx<'_>, path: &str| make_dir(&ctx, path, Map::new()));
    face.add(&MAKE_DIR, |ctx: Ctx<'_>, path: &str, options: Map| make_dir(&ctx, path, options));
    face.add(&UNPACK, |ctx: Ctx<'_>, archive: &str, directory: &str| {
        unpack_into(&ctx, archive, directory, Map::new())
    });
    face.add(&UNPACK, |ctx: Ctx<'_>, archive: &str, directory: &str, options: Map| {
        unpack_into(&ctx, archive, directory, options)
    });
    face.add(&CHECKSUM, |ctx: Ctx<'_>, path: &str| checksum(&ctx, path, Map::new()));
    face.add(&CHECKSUM, |ctx: Ctx<'_>, path: &str, options: Map| checksum(&ctx, path, options));
    face.add(&EXISTS, |ctx: Ctx<'_>, path: &str| ask(&ctx, Exists { path: at(&ctx, path)? }));
    face.add(&FILE_INFO, |ctx: Ctx<'_>, path: &str| {
        ask(&ctx, FileInfo { path: at(&ctx, path)? }).map(to_dynamic)
    });
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<WriteFile>();
    registry.add::<ReplaceInFile>();
    registry.add::<TakeBack<Restore>>();
    registry.add::<Copy>();
    registry.add::<Upload>();
    registry.add::<Download>();
    registry.add::<Move>();
    registry.add::<TakeBack<MoveBack>>();
    registry.add::<Remove>();
    registry.add::<MakeDir>();
    registry.add::<TakeBack<UnmakeDir>>();
    registry.add::<Unpack>();
    registry.add::<TakeBack<UnpackUndo>>();
}
