//! Facts about the target.

use rhai::{Dynamic, NativeCallContext};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bridge::{Face, Primitive, RhaiResultOf, ask, to_dynamic};
use crate::effect::{Cx, Query, Registry};
use crate::error::Result;

const FACTS: Primitive = Primitive {
    name: "facts",
    family: "facts",
    summary: "Tells about the current target.",
    params: &[],
    options: &[],
    returns: "map: `target host user uid os version kernel arch init boot_id package_manager cpus memory time`, and `tools` (list of texts)",
    example: r#"if facts().uid != 0 { fail("this needs root"); }"#,
    failure: "As a read that cannot reach its target.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "The recorded facts.",
};

/// Prints `key=value` lines; needs only sh and the usual tools.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
echo "host=$(uname -n)"
echo "user=$(id -un)"
echo "uid=$(id -u)"
[ -r /etc/os-release ] && . /etc/os-release
echo "os=${ID:-$(uname -s)}"
echo "version=${VERSION_ID:-}"
echo "kernel=$(uname -r)"
echo "arch=$(uname -m)"
if [ -d /run/systemd/system ]; then echo init=systemd; elif command -v rc-service >/dev/null 2>&1; then echo init=openrc; else echo init=sysv; fi
[ -r /proc/sys/kernel/random/boot_id ] && echo "boot_id=$(cat /proc/sys/kernel/random/boot_id)"
for m in apt-get dnf yum zypper apk pacman; do command -v $m >/dev/null 2>&1 && { echo "package_manager=$m"; break; }; done
echo "cpus=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)"
[ -r /proc/meminfo ] && awk '$1 == "MemTotal:" { printf "memory=%.0f\n", $2 * 1024 }' /proc/meminfo
echo "time=$(date +%s)"
for t in rsync tar gzip unzip xz curl systemctl ifup ip setsid at sudo; do command -v $t >/dev/null 2>&1 && echo "tool=$t"; done
:
"#;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Facts {}

impl Query for Facts {
    const NAME: &'static str = "facts";
    type Output = Value;

    fn summary(&self) -> String {
        "look at the target".to_owned()
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Value> {
        let mut facts = parse(&cx.read_script(SCRIPT, [""; 0])?);
        facts.insert("target".to_owned(), cx.target.name.clone().into());
        Ok(Value::Object(facts))
    }

    fn result(&self, output: &Value) -> Option<String> {
        let text = |key: &str| output.get(key).and_then(Value::as_str).unwrap_or("?");
        Some(format!("{} {} {}, {}", text("os"), text("version"), text("arch"), text("user")))
    }
}

fn parse(out: &str) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut tools = Vec::new();
    for key in
        ["host", "user", "os", "version", "kernel", "arch", "init", "boot_id", "package_manager"]
    {
        facts.insert(key.to_owned(), Value::String(String::new()));
    }
    for (key, value) in out.lines().filter_map(|line| line.split_once('=')) {
        match (key, value.trim().parse::<i64>()) {
            ("tool", _) => tools.push(Value::String(value.to_owned())),
            ("uid" | "cpus" | "memory" | "time", Ok(number)) => {
                drop(facts.insert(key.to_owned(), number.into()));
            }
            _ => drop(facts.insert(key.to_owned(), value.trim().into())),
        }
    }
    facts.insert("tools".to_owned(), tools.into());
    facts
}

fn facts(ctx: &NativeCallContext<'_>) -> RhaiResultOf<Dynamic> {
    ask(ctx, Facts {}).map(to_dynamic)
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&FACTS, |ctx: NativeCallContext<'_>| facts(&ctx));
}

/// The family changes nothing.
pub(super) fn actions(_registry: &mut Registry) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::bench::Bench;
    use crate::effect::{Mode, query};

    #[test]
    fn facts_are_those_of_the_target() {
        let bench = Bench::new(Registry::default());

        let facts = query(&bench.lane(Mode::Plan), None, Facts {}).unwrap();

        assert_eq!(
            facts["kernel"].as_str().unwrap(),
            std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim()
        );
        assert!(facts["tools"].as_array().unwrap().contains(&"tar".into()));
    }
}
