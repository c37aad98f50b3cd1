//! The package that the vendor would ship: programs and defaults, no data of users.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::arguments::Arguments;
use super::home::{self, Exe, Tree};
use super::{Outcome, at};

/// What a package is to be.
#[derive(Debug)]
pub struct Plan {
    /// The `.tar.gz` to write.
    pub out: PathBuf,
    version: String,
    exe: Option<Exe>,
}

impl Plan {
    /// Reads the options of `package`.
    pub fn from_arguments(arguments: &mut Arguments) -> Outcome<Self> {
        let without = arguments.flag("without-exe")?;
        let exe = Exe::from_arguments(arguments)?;
        Ok(Self {
            out: PathBuf::from(arguments.required("out")?),
            version: arguments.required("version")?,
            exe: (!without).then_some(exe),
        })
    }
}

/// Fills a temporary directory and packs it with `tar`.
pub fn write(plan: &Plan) -> Outcome<()> {
    let stage = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
    let tree = &Tree(stage.path());
    let version = plan.version.as_str();
    tree.file("version.txt", &format!("{version}\n"))?;
    tree.script("bin/startup.sh", home::STARTUP)?;
    tree.script("bin/shutdown.sh", home::SHUTDOWN)?;
    tree.script("util/bin/check-index.sh", "#!/bin/sh\nexec \"$(dirname \"$0\")/../../jvm/bin/obs-jvm\" index --home \"$(cd \"$(dirname \"$0\")/../..\" && pwd)\"\n")?;
    if let Some(exe) = &plan.exe {
        exe.install(stage.path())?;
    }
    home::web_applications(tree, version)?;
    tree.file(
        "webapps/ROOT/lib/common.js",
        "var companyName = 'Your company'; // default branding\n",
    )?;
    tree.file("webapps/obs/lib/index-status.js", "// new in this version\n")?;
    tree.file("webapps/obs/liveUpdate/index.xml", &home::live_update_xml(version, "*"))?;
    tree.file("conf/server.xml", &home::server_xml(80, 8014, "default ports"))?;
    tree.file("conf/obs.xml", &home::obs_xml(&["user".to_owned()], "system", "change-me"))?;
    tree.file("conf/rpsSend.xml", &home::rps_send_xml(false, 9444))?;
    tree.file("conf/obsr.opt", "# default options\ncom.example.obs.core.heap=256m\n")?;
    tree.file("conf/afc.opt", "# default options\n")?;

    // Umask and the mode of the temporary directory must not end up in the home.
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    at(stage.path(), fs::set_permissions(stage.path(), mode))?;
    let status = Command::new("tar")
        .arg("-czf")
        .arg(&plan.out)
        .arg("-C")
        .arg(stage.path())
        .arg(".")
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("tar: {status}")),
        Err(error) => Err(format!("tar: {error}")),
    }
}
