mod accepted;
mod arbitrary;
mod files;
mod refused;
mod secrets;

use super::*;

fn env(dir: &Path) -> Environment {
    let home = dir.join("home").to_str().unwrap().to_owned();
    let vars = [("HOME", home.as_str()), ("USER", "ann")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Environment {
        vars,
        dir: dir.join("work"),
        etc: dir.join("etc"),
        uid: rustix::process::geteuid().as_raw(),
    }
}

fn fixed() -> Environment {
    Environment { uid: 1000, ..env(Path::new("/r")) }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("upgrade-host.toml"), &fixed())
}

fn wrong(text: &str) -> String {
    match parse(text) {
        Err(errors) => errors.to_string(),
        Ok(config) => panic!("this is accepted: {config:?}"),
    }
}
