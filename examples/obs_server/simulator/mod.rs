//! Everything of the simulated server behind one function: [`main`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub mod api;
pub mod arguments;
pub mod audit;
pub mod config;
pub mod control;
pub mod form;
pub mod home;
pub mod index;
pub mod jobs;
pub mod log;
pub mod names;
pub mod package;
pub mod replication;
pub mod server;
pub mod users;
pub mod web;
pub mod xml;

use arguments::Arguments;

/// The result of anything that can fail here: a simulator only has to say what went wrong.
pub type Outcome<T> = Result<T, String>;

/// Turns a failure of the file system into a sentence with the path in it.
pub(crate) fn at<T>(path: &Path, result: std::io::Result<T>) -> Outcome<T> {
    result.map_err(|error| format!("{}: {error}", path.display()))
}

const USAGE: &str = "\
A simulated AhsayOBS server.

Usage: obs_server COMMAND [OPTIONS]

  create --home DIR [options]         make a home tree with users and backup files
      --version V                     contents of version.txt           (5.5.2.0)
      --users N                       how many users                    (40)
      --files-per-user N              backup files of each user         (12)
      --user-homes N                  user, user2, … share the users    (1)
      --port P                        HTTP port in conf/server.xml      (8080)
      --shutdown-port P               control port on loopback          (PORT + 1)
      --replication-port P            listen-port in conf/rpsSend.xml   (9444)
      --replication on|off            sender enabled at the start       (on)
      --bind ADDRESS                  written to sim.conf               (127.0.0.1)
      --sys-user NAME                 administrator of the API          (system)
      --password PW                   its password                      (system)
      --exe PATH                      executable behind jvm/bin/obs-jvm (this one)
      --copy-exe                      copy it instead of a symbolic link
  package --out FILE --version V [--exe PATH] [--copy-exe] [--without-exe]
                                      write the vendor's .tar.gz of that version
  serve --home DIR [--foreground]     run the server; what bin/startup.sh starts.
                                      --foreground prints what else goes to logs/catalina.out
  stop --home DIR                     ask a running server to stop (what bin/shutdown.sh does first)
  replication --home DIR on|off       what the web console does: switch at once and in conf/rpsSend.xml
  init-script --home DIR --out FILE [--name obsr] [--pid FILE] [--user USER]
                                      write a SysV script (start, stop; always ends with status 1)
  set --home DIR [--outside] KEY=VALUE…
                                      write settings to HOME/sim.conf, an empty VALUE removes one;
                                      --outside writes HOME.sim.conf beside the home, which outlives a swap
                                      of the home; HOME/sim.conf wins over it
  get --home DIR KEY                  print a setting or its default
  index --home DIR                    print how many users are indexed, `done of total`

Settings (read again while running unless marked [start]):
";

fn help() -> String {
    let mut text = USAGE.to_owned();
    for key in config::KEYS {
        let default =
            if key.default.is_empty() { String::new() } else { format!(" ({})", key.default) };
        text.extend([format!("  {:22}{}{default}\n", key.name, key.help)]);
    }
    text
}

/// Runs one command; `arguments` do not include the name of the program.
pub fn main(arguments: Vec<String>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().unwrap_or_default();
    match run(&command, arguments.collect()) {
        Ok(code) => code,
        Err(message) => {
            complain(&message);
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the simulator is a program of its own")]
fn complain(message: &str) {
    eprintln!("obs_server: {message}");
}

#[expect(clippy::print_stdout, reason = "the simulator is a program of its own")]
fn say(message: &str) {
    println!("{message}");
}

fn home_of(arguments: &mut Arguments) -> Outcome<PathBuf> {
    let home = PathBuf::from(arguments.required("home")?);
    // Not resolved further: a home may be a symbolic link that an upgrade turns to another tree.
    std::path::absolute(&home).map_err(|error| format!("{}: {error}", home.display()))
}

fn run(command: &str, rest: Vec<String>) -> Outcome<ExitCode> {
    if matches!(command, "" | "help" | "-h" | "--help")
        || rest.iter().any(|a| a == "--help" || a == "-h")
    {
        say(help().trim_end());
        return Ok(if command.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS });
    }
    let arguments = &mut Arguments::parse(rest)?;
    match command {
        "create" => {
            let plan = home::Plan::from_arguments(arguments)?;
            arguments.finish(0)?;
            home::create(&plan)?;
            say(&format!("Created {} with {} users", plan.home.display(), plan.users));
        }
        "package" => {
            let plan = package::Plan::from_arguments(arguments)?;
            arguments.finish(0)?;
            package::write(&plan)?;
            say(&format!("Wrote {}", plan.out.display()));
        }
        "serve" => {
            let home = home_of(arguments)?;
            let foreground = arguments.flag("foreground")?;
            arguments.finish(0)?;
            return Ok(server::serve(&home, foreground));
        }
        "stop" => {
            let home = home_of(arguments)?;
            arguments.finish(0)?;
            control::send(&home, "SHUTDOWN")?;
        }
        "replication" => {
            let home = home_of(arguments)?;
            let words = arguments.finish(1)?;
            let state = words.first().map(String::as_str).unwrap_or_default();
            if !matches!(state, "on" | "off") {
                return Err("replication: say on or off".to_owned());
            }
            control::send(&home, &format!("REPLICATION {state}"))?;
        }
        "init-script" => {
            let home = home_of(arguments)?;
            let out = PathBuf::from(arguments.required("out")?);
            let name = arguments.optional("name")?.unwrap_or_else(|| "obsr".to_owned());
            let pid = arguments.optional("pid")?;
            let user = arguments.optional("user")?.unwrap_or_default();
            arguments.finish(0)?;
            let pid = pid.map_or_else(|| home.join("logs/obsr.pid"), PathBuf::from);
            home::write_init_script(&home, &out, &name, &pid, &user)?;
        }
        "set" => {
            let home = home_of(arguments)?;
            let outside = arguments.flag("outside")?;
            let words = arguments.finish(usize::MAX)?;
            if words.is_empty() {
                return Err("set: give at least one KEY=VALUE".to_owned());
            }
            config::set(&home, outside, &words)?;
        }
        "get" => {
            let home = home_of(arguments)?;
            let words = arguments.finish(1)?;
            let key = words.first().ok_or("get: give a KEY")?;
            config::check_key(key)?;
            say(&config::Config::load(&home).text(key));
        }
        "index" => {
            let home = home_of(arguments)?;
            arguments.finish(0)?;
            let users = users::Users::load(&users::homes(&home)?)?;
            let (done, total) = index::count(&users);
            say(&format!("{done} of {total}"));
        }
        other => return Err(format!("unknown command '{other}'; see --help")),
    }
    Ok(ExitCode::SUCCESS)
}
