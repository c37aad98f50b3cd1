//! Makes the tree of an installed server, with users and their backup files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::arguments::Arguments;
use super::config::Config;
use super::users::User;
use super::xml::{Element, escape};
use super::{Outcome, at, config, log, names};

/// bin/startup.sh
pub const STARTUP: &str = include_str!("scripts/startup.sh");
/// bin/shutdown.sh
pub const SHUTDOWN: &str = include_str!("scripts/shutdown.sh");
const INIT: &str = include_str!("scripts/init.sh");

/// What a home is to be.
#[derive(Debug)]
pub struct Plan {
    /// Where it is made; must not exist or be empty.
    pub home: PathBuf,
    /// Contents of version.txt.
    pub version: String,
    /// How many users.
    pub users: usize,
    files_per_user: usize,
    user_homes: usize,
    port: u16,
    shutdown_port: u16,
    replication_port: u16,
    replication: bool,
    bind: Option<String>,
    administrator: String,
    password: String,
    exe: Exe,
}

/// The executable behind `jvm/bin/obs-jvm`.
#[derive(Debug)]
pub struct Exe {
    path: PathBuf,
    copy: bool,
}

impl Exe {
    /// Reads `--exe` and `--copy-exe`.
    pub fn from_arguments(arguments: &mut Arguments) -> Outcome<Self> {
        let path = match arguments.optional("exe")? {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe()
                .map_err(|error| format!("the path of this program: {error}"))?,
        };
        Ok(Self { path, copy: arguments.flag("copy-exe")? })
    }

    /// Puts it into a tree.
    pub fn install(&self, tree: &Path) -> Outcome<()> {
        let directory = tree.join("jvm/bin");
        let target = directory.join("obs-jvm");
        at(&directory, fs::create_dir_all(&directory))?;
        if self.copy {
            at(&self.path, fs::copy(&self.path, &target))?;
            at(&target, fs::set_permissions(&target, fs::Permissions::from_mode(0o755)))
        } else {
            at(&target, std::os::unix::fs::symlink(&self.path, &target))
        }
    }
}

impl Plan {
    /// Reads the options of `create`.
    pub fn from_arguments(arguments: &mut Arguments) -> Outcome<Self> {
        let port: u16 = arguments.number("port", 8080)?;
        let replication = match arguments.optional("replication")?.as_deref() {
            None | Some("on") => true,
            Some("off") => false,
            Some(other) => return Err(format!("--replication: on or off, not '{other}'")),
        };
        let or = |value: Option<String>, default: &str| value.unwrap_or_else(|| default.to_owned());
        Ok(Self {
            home: super::home_of(arguments)?,
            version: or(arguments.optional("version")?, "5.5.2.0"),
            users: arguments.number("users", 40)?,
            files_per_user: arguments.number("files-per-user", 12)?,
            user_homes: arguments.number("user-homes", 1_usize)?.max(1),
            port,
            shutdown_port: arguments.number("shutdown-port", port.saturating_add(1))?,
            replication_port: arguments.number("replication-port", 9444)?,
            replication,
            bind: arguments.optional("bind")?,
            administrator: or(arguments.optional("sys-user")?, "system"),
            password: or(arguments.optional("password")?, "system"),
            exe: Exe::from_arguments(arguments)?,
        })
    }
}

/// Writes a file beside its place and renames it there, so that a reader sees the old one or the new one.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Outcome<()> {
    let temporary = config::beside(path, ".new");
    at(&temporary, fs::write(&temporary, contents))?;
    at(path, fs::rename(&temporary, path))
}

/// A tree being filled.
#[derive(Debug)]
pub struct Tree<'a>(pub &'a Path);

impl Tree<'_> {
    /// Writes one file, making its directories.
    pub fn file(&self, path: &str, contents: &str) -> Outcome<()> {
        let path = self.0.join(path);
        if let Some(parent) = path.parent() {
            at(parent, fs::create_dir_all(parent))?;
        }
        at(&path, fs::write(&path, contents))
    }

    /// Writes a script.
    pub fn script(&self, path: &str, contents: &str) -> Outcome<()> {
        self.file(path, contents)?;
        let path = self.0.join(path);
        at(&path, fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
    }
}

/// conf/server.xml
pub fn server_xml(port: u16, shutdown_port: u16, note: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- {note} -->\n\
         <Server port=\"{shutdown_port}\" shutdown=\"SHUTDOWN\">\n  <Service name=\"obs\">\n    \
         <Connector protocol=\"HTTP/1.1\" port=\"{port}\"/>\n  </Service>\n</Server>\n"
    )
}

/// conf/obs.xml
pub fn obs_xml(user_homes: &[String], administrator: &str, password: &str) -> String {
    let homes: Vec<String> = user_homes
        .iter()
        .map(|home| format!("  <user-home path=\"{}\"/>\n", escape(home)))
        .collect();
    let homes = homes.concat();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<obs system-home=\"system\">\n{homes}  \
         <admin login-name=\"{}\" password=\"{}\"/>\n  \
         <cron job=\"delete-retained-files\" hour=\"2\"/>\n</obs>\n",
        escape(administrator),
        escape(password)
    )
}

/// conf/rpsSend.xml
pub fn rps_send_xml(enable: bool, port: u16) -> String {
    let enable = if enable { "Y" } else { "N" };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<senders>\n  <sender name=\"replica\" enable=\"{enable}\" \
         listen-host=\"\" listen-port=\"{port}\" next-sync-log-file-seq=\"42\"/>\n</senders>\n"
    )
}

/// webapps/obs/liveUpdate/index.xml
pub fn live_update_xml(version: &str, include_users: &str) -> String {
    let number = version.replace('.', "");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<AutoUpdate product=\"obm\" version=\"{version}\" \
         compatible=\"5.5.x.x\" host=\"\">\n  <patch os=\"Windows\" url=\"/obs/liveUpdate/obm{number}-win.zip\" \
         include-users=\"{include_users}\" exclude-users=\"\" force=\"false\"/>\n</AutoUpdate>\n"
    )
}

/// What the vendor ships of web applications, the same in every home and package of a version.
pub fn web_applications(tree: &Tree<'_>, version: &str) -> Outcome<()> {
    tree.file("webapps/ROOT/alive.txt", "AHSAYOBS")?;
    tree.file("webapps/obs/WEB-INF/web.xml", &format!("<web-app version=\"{version}\"/>\n"))?;
    tree.file(
        "webapps/obs/index.jsp",
        &format!("<html><body>Backup server {version}</body></html>\n"),
    )?;
    tree.file("webapps/obs/lib/menu.js", &format!("var version = '{version}';\n"))?;
    tree.file("webapps/obs/download/obm-win.exe", &format!("installer of {version}\n"))?;
    tree.file("webapps/rps/WEB-INF/web.xml", &format!("<web-app version=\"{version}\"/>\n"))
}

/// Makes the whole home.
pub fn create(plan: &Plan) -> Outcome<()> {
    let home = &plan.home;
    at(home, fs::create_dir_all(home))?;
    if at(home, fs::read_dir(home))?.next().is_some() {
        return Err(format!("{}: not empty", home.display()));
    }
    let tree = &Tree(home);
    tree.file("version.txt", &format!("{}\n", plan.version))?;
    tree.script("bin/startup.sh", STARTUP)?;
    tree.script("bin/shutdown.sh", SHUTDOWN)?;
    plan.exe.install(home)?;

    let user_homes: Vec<String> = (1..=plan.user_homes)
        .map(|n| if n == 1 { "user".to_owned() } else { format!("user{n}") })
        .collect();
    tree.file("conf/obs.xml", &obs_xml(&user_homes, &plan.administrator, &plan.password))?;
    tree.file("conf/rpsSend.xml", &rps_send_xml(plan.replication, plan.replication_port))?;
    tree.file(
        "conf/rps.xml",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rps system-home=\"rps-system\"/>\n",
    )?;
    tree.file(
        "conf/sysUser.xml",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<sysUsers>\n  \
         <sysUser login-name=\"monitor\" password=\"monitor\" role=\"read-only\"/>\n</sysUsers>\n",
    )?;
    tree.file(
        "conf/license.xml",
        &Element::new("license").with("Key", "SIM-0001").with("CPU", "2").document(),
    )?;
    tree.file("conf/server.xml", &server_xml(plan.port, plan.shutdown_port, "ports of this site"))?;
    tree.file("conf/obsr.opt", "# options of this site\ncom.example.obs.core.heap=1024m\n")?;
    tree.file("conf/keystore", "simulated keystore of this site\n")?;

    web_applications(tree, &plan.version)?;
    tree.file(
        "webapps/ROOT/lib/common.js",
        "var companyName = 'Example Backup Ltd'; // customised branding\n",
    )?;
    tree.file("webapps/obs/liveUpdate/index.xml", &live_update_xml(&plan.version, ""))?;

    tree.file("system/policy/default.xml", "<policy name=\"default\"/>\n")?;
    tree.file("system/policy/resellers.xml", "<policy name=\"resellers\"/>\n")?;
    tree.file("system/ads/group1.xml", "<ads group=\"1\"/>\n")?;
    at(home, fs::create_dir_all(home.join("rps-system")))?;
    at(home, fs::create_dir_all(home.join("logs")))?;
    if let Some(bind) = &plan.bind {
        config::set(home, false, &[format!("bind={bind}")])?;
    }
    let today = log::now(&Config::load(home));
    for days in [2, 1] {
        let day = today.saturating_sub(days.days());
        let record = |hours, message: &str| {
            let time = day
                .timestamp()
                .saturating_sub(SignedDuration::from_hours(hours))
                .unwrap_or(day.timestamp());
            format!("{},INFO,{message}\n", time.as_millisecond())
        };
        let text = [
            record(1, "Server,Free space of all user homes: 61%"),
            record(0, "Backup,12 backup jobs finished"),
        ]
        .concat();
        tree.file(&format!("system/SystemLog/{}.log", day.strftime("%Y-%m-%d")), &text)?;
    }
    users(plan, &user_homes)
}

/// A number that looks random and is the same in every run.
fn scatter(a: usize, b: usize) -> usize {
    let mixed = (a + 1).wrapping_mul(0x9e37_79b1).wrapping_add((b + 1).wrapping_mul(0x85eb_ca6b));
    (mixed ^ (mixed >> 15)) % 1_000_003
}

fn users(plan: &Plan, user_homes: &[String]) -> Outcome<()> {
    let now = Timestamp::now();
    let ago = |days: usize| {
        let hours = i64::try_from(days * 24).unwrap_or(0);
        now.saturating_sub(SignedDuration::from_hours(hours)).map_or(0, Timestamp::as_millisecond)
    };
    for (n, name) in names::names(plan.users).into_iter().enumerate() {
        let suspended = n % 10 == 6;
        let trial = n % 5 == 3;
        let home = plan.home.join(&user_homes[n % user_homes.len()]);
        let own = home.join(&name.login);
        let directory =
            if own.exists() { home.join(format!("{}#{}", name.login, name.owner)) } else { own };
        let set = (1_256_000_000_000_usize + n * 86_400_000).to_string();
        let text = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>()
        };
        let registered = ago(30 + scatter(n, 0) % 900).to_string();
        let last = ago(scatter(n, 1) % 3).to_string();
        let user = User {
            directory,
            attributes: text(&[
                ("LoginName", &name.login),
                ("Owner", name.owner),
                ("Alias", ""),
                ("UserType", if trial { "TRIAL" } else { "PAID" }),
                ("ClientType", if n % 4 == 1 { "ACB" } else { "OBM" }),
                ("Quota", "10737418240"),
                ("Timezone", "GMT+01:00 (CET)"),
                ("Language", "en"),
                ("DataFile", &plan.files_per_user.to_string()),
                ("DataSize", &(plan.files_per_user * 1024).to_string()),
                ("Bandwidth", "0"),
                ("Notes", if suspended { "unpaid since July" } else { "" }),
                ("Status", if suspended { "SUSPENDED" } else { "ENABLE" }),
                ("RegistrationDate", &registered),
                ("SuspendPaidUser", "N"),
                ("SuspendPaidUserDate", ""),
                ("LastBackupDate", &last),
                ("Hostname", &format!("client{n}.example.com")),
            ]),
            contact: text(&[("Name", &name.contact), ("Email", &format!("user{n}@example.com"))]),
            sets: vec![text(&[("ID", &set), ("Name", "Documents & mail"), ("Type", "FILE")])],
        };
        at(&user.directory, fs::create_dir_all(user.directory.join("db")))?;
        user.write()?;
        let files = Tree(&user.directory);
        for file in 0..plan.files_per_user {
            let contents = "x".repeat(100 + scatter(n, file) % 1900);
            files
                .file(&format!("files/{set}/Current/{:02x}/{file:06}.dat", file % 16), &contents)?;
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Writes the script for `/etc/init.d`.
pub fn write_init_script(
    home: &Path,
    out: &Path,
    name: &str,
    pid: &Path,
    user: &str,
) -> Outcome<()> {
    let script = INIT
        .replace("@NAME@", name)
        .replace("@HOME@", &quoted(&home.to_string_lossy()))
        .replace("@PID@", &quoted(&pid.to_string_lossy()))
        .replace("@USER@", &quoted(user));
    at(out, fs::write(out, script))?;
    at(out, fs::set_permissions(out, fs::Permissions::from_mode(0o755)))
}
