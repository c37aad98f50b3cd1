//! The XML API: `/obs/api/<Name>.do`. Failures are HTTP 200 with a root `<err>`.

use std::fs;

use super::config::Config;
use super::server::Server;
use super::users::User;
use super::web::Reply;
use super::xml::{Element, attributes, escape};

type Parameters = [(String, String)];

/// What an action brings: a document, a plain OK, or the text of an error.
type Answer = Result<Option<Element>, String>;

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn required<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a str, String> {
    parameter(parameters, name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("[Api.MissingParameterExpt] Parameter '{name}' is missing."))
}

/// A change of a status.
#[derive(Debug)]
struct Change {
    from: String,
    to: String,
}

/// The role of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Admin,
    ReadOnly,
}

fn authenticate(server: &Server, parameters: &Parameters) -> Result<Role, String> {
    let name = parameter(parameters, "SysUser").unwrap_or_default();
    let password = parameter(parameters, "SysPwd").unwrap_or_default();
    for (file, tag, role) in
        [("conf/obs.xml", "admin", Role::Admin), ("conf/sysUser.xml", "sysUser", Role::ReadOnly)]
    {
        let text = fs::read_to_string(server.home.join(file)).unwrap_or_default();
        let Ok(document) = roxmltree::Document::parse(&text) else { continue };
        let known = document.descendants().filter(|node| node.has_tag_name(tag));
        for node in known {
            if node.attribute("login-name") == Some(name)
                && node.attribute("password") == Some(password)
            {
                return Ok(if node.attribute("role") == Some("admin") {
                    Role::Admin
                } else {
                    role
                });
            }
        }
    }
    Err("[SysUserCacheManager.PasswordIncorrectExpt] Login name or password incorrect.".to_owned())
}

/// How the audit log calls a request.
pub fn kind(name: &str) -> &'static str {
    if matches!(name, "ModifyUser" | "ModifyUserStatus") { "CHANGE" } else { "READ" }
}

/// Answers one request.
pub fn answer(server: &Server, config: &Config, name: &str, parameters: &Parameters) -> Reply {
    let unknown = || {
        server.audit.record(kind(name), name, "", &[("result", "404")]);
        Reply::page(404, "Not Found")
    };
    if name == "ModifyUserStatus" && config.flag("no_modify_user_status") {
        return unknown();
    }
    let kind = kind(name);
    let mut change = None;
    let answer = authenticate(server, parameters).and_then(|role| match name {
        _ if kind == "CHANGE" && role != Role::Admin => {
            Err("[Api.PermissionDeniedExpt] This user may only read.".to_owned())
        }
        "AuthSystemUser" => Ok(None),
        "ListUsers" => Ok(Some(list_users(server, config, parameters))),
        "GetUser" => with_user(server, parameters, |user| Ok(Some(user.element()))),
        "ModifyUser" => match parameter(parameters, "Status") {
            None => with_user(server, parameters, |_| Ok(None)),
            Some(_) => modify_status(server, config, parameters, &mut change),
        },
        "ModifyUserStatus" => modify_status(server, config, parameters, &mut change),
        "ListBackupSets" => with_user(server, parameters, |user| {
            let sets = user.sets.iter().map(|set| Element::new("BackupSet").with_all(set));
            Ok(Some(sets.fold(Element::new("BackupSets"), Element::child)))
        }),
        "ListBackupJobStatus" => {
            let date = required(parameters, "BackupDate")?;
            let login = parameter(parameters, "LoginName").filter(|login| !login.is_empty());
            Ok(Some(server.jobs.statuses(&server.users(), config, date, login)))
        }
        "ListBackupJobMode" => Ok(Some(server.jobs.modes(&server.users(), config))),
        "GetReplicationMode" => {
            Ok(Some(Element::new("Replication").with("Mode", server.replication.mode(config))))
        }
        "GetLicense" => license(server),
        "GetSystemSetting" => Ok(Some(
            Element::new("SystemSetting")
                .with("Version", server.version.as_str())
                .with("SystemHome", "system"),
        )),
        _ => Err(String::new()),
    });
    if matches!(&answer, Err(message) if message.is_empty()) {
        return unknown();
    }
    let login = parameter(parameters, "LoginName").unwrap_or_default();
    let owner = parameter(parameters, "Owner").unwrap_or_default();
    let result =
        answer.as_ref().map_or_else(|message| format!("err {message}"), |_| "OK".to_owned());
    let mut details = vec![("owner", owner)];
    if let Some(change) = &change {
        details.extend([("from", change.from.as_str()), ("to", change.to.as_str())]);
    }
    details.push(("result", &result));
    server.audit.record(kind, name, login, &details);
    match answer {
        Ok(Some(element)) => Reply::xml(element.document()),
        Ok(None) => Reply::xml("<OK/>\n".to_owned()),
        Err(message) => Reply::xml(format!("<err>{}</err>\n", escape(&message))),
    }
}

fn no_such_user(login: &str) -> String {
    format!("[UserCacheManager.NoSuchUserExpt] User '{login}' not found.")
}

fn with_user(
    server: &Server,
    parameters: &Parameters,
    then: impl FnOnce(&User) -> Answer,
) -> Answer {
    let login = required(parameters, "LoginName")?;
    let users = server.users();
    let position =
        users.find(login, parameter(parameters, "Owner")).ok_or_else(|| no_such_user(login))?;
    then(&users.all[position])
}

fn list_users(server: &Server, config: &Config, parameters: &Parameters) -> Element {
    let root = if config.text("root_case") == "Users" { "Users" } else { "users" };
    let users = server.users();
    let wanted = |user: &&User| {
        [("Type", "UserType"), ("Host", "Hostname")].iter().all(|&(asked, attribute)| {
            let asked = parameter(parameters, asked).unwrap_or_default();
            asked.is_empty() || super::users::value(&user.attributes, attribute) == asked
        })
    };
    users.all.iter().filter(wanted).map(User::element).fold(Element::new(root), Element::child)
}

fn modify_status(
    server: &Server,
    config: &Config,
    parameters: &Parameters,
    change: &mut Option<Change>,
) -> Answer {
    let login = required(parameters, "LoginName")?;
    let status = required(parameters, "Status")?;
    if !matches!(status, "ENABLE" | "SUSPENDED") {
        return Err(format!(
            "[Api.InvalidParameterExpt] Status '{status}' is neither ENABLE nor SUSPENDED."
        ));
    }
    let mut users = server.users();
    let position =
        users.find(login, parameter(parameters, "Owner")).ok_or_else(|| no_such_user(login))?;
    if config.text("deny_status_for").split('|').any(|denied| denied == login) {
        return Err(format!(
            "[UserCacheManager.ModifyUserExpt] The status of user '{login}' cannot be changed."
        ));
    }
    let before = users
        .set_status(position, status)
        .map_err(|message| format!("[Api.SystemErrorExpt] {message}"))?;
    *change = Some(Change { from: before, to: status.to_owned() });
    Ok(None)
}

fn license(server: &Server) -> Answer {
    let failed = |what: String| format!("[LicenseManager.InvalidLicenseExpt] {what}");
    let text = fs::read_to_string(server.home.join("conf/license.xml"))
        .map_err(|e| failed(e.to_string()))?;
    let document = roxmltree::Document::parse(&text).map_err(|e| failed(e.to_string()))?;
    let users = server.users().all.len();
    Ok(Some(
        Element::new("License")
            .with_all(&attributes(document.root_element()))
            .with("UsedUsers", users.to_string()),
    ))
}

/// What a backup client meets: it may log in, or it is turned away.
pub fn login(server: &Server, parameters: &Parameters) -> Reply {
    let login = parameter(parameters, "user").unwrap_or_default();
    let owner = parameter(parameters, "owner");
    let users = server.users();
    let (status, text) = match users.find(login, owner).map(|position| users.all[position].status())
    {
        Some("ENABLE") => (200, "OK"),
        Some(_) => (403, "User is suspended"),
        None => (404, "No such user"),
    };
    let details = [("owner", owner.unwrap_or_default()), ("result", &status.to_string())];
    server.audit.record("READ", "login", login, &details);
    Reply::text(status, text)
}
