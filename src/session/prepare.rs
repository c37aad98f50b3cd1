//! From an order, or from the record of a run, to everything that a run needs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OnInterrupt;
use super::config::{Interrupt, TargetConfig};
use super::drive::Setup;
use super::error::SessionError;
use super::interactive;
use super::inventory::{self, Choice, Inventory, Snapshot};
use super::open::{Order, Session, Voice};
use super::params::Params;
use super::secrets::{Reference, SecretStore};
use crate::effect::{
    AT_ONCE, App, Clock, LOCK_DIR, Mode, Redactor, Secrets, ServiceCommands, SystemClock, Target,
    Targets, side_by_side,
};
use crate::error::{Failure, Kind, Result};
use crate::event::Status;
use crate::journal::RunInfo;
use crate::primitives::{RollingOptions, Waves};
use crate::script::{self, Runbook};
use crate::secret::Secret;
use crate::transport::{Cancel, Command, SharedTransport, TransportError, sudo};
use crate::units::say_names;

/// How long a broken connection is tried again unless the configuration says otherwise.
const RECONNECT: Duration = Duration::from_secs(300);

/// What the journal keeps of the settings of a run. Secrets are in it by reference.
#[derive(Debug, Serialize, Deserialize)]
struct Settings<'i> {
    params: BTreeMap<String, BTreeMap<String, Value>>,
    secrets: BTreeMap<String, Reference>,
    inventory: Cow<'i, Snapshot>,
    services: BTreeMap<String, ServiceCommands>,
    app: Option<(String, Value)>,
    reconnect_ms: u64,
    /// Runs from before there were any are gone through at once.
    #[serde(default = "together")]
    waves: Waves,
}

fn together() -> Waves {
    RollingOptions::together(AT_ONCE).waves()
}

/// Prepares an order.
pub(super) fn fresh(
    session: &Session,
    order: &Order,
    runbook: Runbook,
    voice: &Voice,
    mode: Mode,
) -> Result<Setup, SessionError> {
    let config = session.complete(&voice.cancel)?;
    let redactor = Redactor::new();
    let secrets =
        Arc::new(SecretStore::new(session.environment.clone(), Arc::clone(&voice.prompt)));
    secrets.add_all(&config.secrets);
    let factory = factory(&secrets, &redactor, voice);
    let inventory =
        Arc::new(Inventory::new(config, factory, mode == Mode::Plan).allow_ad_hoc(true));
    let on = order.on.clone().or_else(|| {
        (!runbook.metadata.targets.is_empty()).then(|| runbook.metadata.targets.join(","))
    });
    let on = on.or_else(|| config.defaults.on.clone()).unwrap_or_else(|| "local".to_owned());
    let choice = Choice { on: Some(on), limit: order.limit.clone() };
    let targets = choice.among(&inventory)?;
    let declared = Params::declare(&runbook.metadata.params).map_err(SessionError::Params)?;
    let mut params = BTreeMap::new();
    let mut references = BTreeMap::new();
    for name in &targets {
        let own = inventory.config(name)?.params;
        let values = declared
            .for_target(name, &order.set, &own, &config.defaults.params)
            .map_err(SessionError::Params)?;
        references.extend(values.secrets);
        if params.is_empty() {
            params.insert(String::new(), values.values.clone());
        }
        params.insert(name.clone(), values.values);
    }
    secrets.add_all(&references);
    // Those that need neither a command nor the operator are had at once: a slip is told before anything is done.
    for (name, reference) in &references {
        if matches!(reference, Reference::Env(_) | Reference::File(_)) {
            redactor.add(&secrets.reveal(name)?);
        }
    }
    references.extend(config.secrets.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = Settings {
        params,
        secrets: references,
        // It may be large, and is on its way to the journal only.
        inventory: Cow::Borrowed(inventory.snapshot()),
        services: config.services.clone(),
        app: config.app.clone().map(|app| (app.adapter, app.settings)),
        reconnect_ms: u64::try_from(config.defaults.reconnect.unwrap_or(RECONNECT).as_millis())
            .unwrap_or(u64::MAX),
        waves: order.rolling.clone().or(runbook.metadata.rolling.clone()).waves(),
    };
    // A plan leaves no record.
    let kept = (mode == Mode::Run).then_some(&settings);
    let recorded = serde_json::to_value(kept)
        .map_err(|error| Failure::input(format!("the settings cannot be recorded: {error}")))
        .map_err(crate::error::Halt::from)?;
    let operator = config.defaults.operator.clone().unwrap_or_else(|| operator(session));
    let info = RunInfo {
        id: new_id(&*clock),
        runbook: runbook.name.clone(),
        title: if runbook.metadata.title.is_empty() {
            runbook.name.clone()
        } else {
            runbook.metadata.title.clone()
        },
        targets,
        operator,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        status: Status::Running,
        started: clock.now(),
        ended: None,
        due: None,
        settings: recorded,
        sources: runbook.sources(),
    };
    let word = if mode == Mode::Plan { "plan" } else { "run" };
    Ok(assemble(
        info,
        runbook,
        settings,
        inventory.clone(),
        secrets,
        redactor,
        clock,
        order,
        voice,
        session,
        mode,
        word,
    ))
}

/// Makes sure that what an order says of waves means something: for targets that nobody chose there are none, and where
/// all begin at once there is nothing to pause between.
pub(super) fn waves_are_meant(
    session: &Session,
    order: &Order,
    setup: Option<&Setup>,
) -> Result<(), SessionError> {
    let said = order.rolling.said();
    let Some(option) = said.first().map(|name| format!("--{}", name.replace('_', "-"))) else {
        return Ok(());
    };
    let named = setup.is_some_and(|setup| !setup.runbook.metadata.targets.is_empty());
    let wrong = |why: String, hint: &str| {
        Err(SessionError::Failure(Box::new(Failure::input(why).with_hint(hint))))
    };
    if order.on.is_none() && session.config().defaults.on.is_none() && !named {
        let why =
            format!("{option} says how several targets go, and this acts on this machine alone");
        return wrong(why, "Choose targets with --on, or leave it out.");
    }
    let waves = setup.map_or(0, |setup| setup.waves.ends(setup.info.targets.len()).len());
    let several = setup.is_some_and(|setup| setup.info.targets.len() > 1);
    if said.contains(&"pause") && several && waves < 2 {
        let why = "--pause is waited between two waves, and here all targets begin in one";
        return wrong(
            why.to_owned(),
            "Say with --waves how many are through after each wave, or leave it out.",
        );
    }
    Ok(())
}

/// Prepares a run that is on record.
pub(super) fn recorded(
    session: &Session,
    info: RunInfo,
    order: &Order,
    voice: &Voice,
    mode: Mode,
) -> Result<Setup, SessionError> {
    let (runbook, pieces) = match interactive::recorded(&info) {
        Some((runbook, pieces)) => (runbook, Some(pieces)),
        None => (Runbook::recorded(&script::build(None)?, &info.sources)?, None),
    };
    let settings: Settings<'static> =
        serde_json::from_value(info.settings.clone()).map_err(|error| {
            crate::journal::JournalError::Io {
                path: session.state().join("journal.db"),
                why: format!("the settings of run {} cannot be read: {error}", info.id),
            }
        })?;
    let redactor = Redactor::new();
    let secrets =
        Arc::new(SecretStore::new(session.environment.clone(), Arc::clone(&voice.prompt)));
    secrets.add_all(&settings.secrets);
    let factory = factory(&secrets, &redactor, voice);
    let reads = mode == Mode::Plan;
    let inventory =
        Inventory::from_snapshot(settings.inventory.clone().into_owned(), factory, reads);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut setup = assemble(
        info,
        runbook,
        settings,
        Arc::new(inventory),
        secrets,
        redactor,
        clock,
        order,
        voice,
        session,
        mode,
        "resume",
    );
    // A line that was interrupted leaves a gap in the record, and the lines after it still count.
    setup.accept_change = pieces.is_some();
    setup.pieces = pieces;
    Ok(setup)
}

/// The configured targets, outside of every run.
pub(super) fn targets(session: &Session, voice: &Voice) -> Result<Inventory, SessionError> {
    let config = session.complete(&voice.cancel)?;
    let secrets =
        Arc::new(SecretStore::new(session.environment.clone(), Arc::clone(&voice.prompt)));
    secrets.add_all(&config.secrets);
    let factory = factory(&secrets, &Redactor::new(), voice);
    Ok(Inventory::new(config, factory, false).allow_ad_hoc(true))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the two ways to a setup differ in where these come from"
)]
fn assemble(
    info: RunInfo,
    runbook: Runbook,
    settings: Settings<'_>,
    targets: Arc<dyn Targets>,
    secrets: Arc<SecretStore>,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
    order: &Order,
    voice: &Voice,
    session: &Session,
    mode: Mode,
    word: &'static str,
) -> Setup {
    let on_interrupt = order.on_interrupt.unwrap_or(match session.config.defaults.interrupt {
        Some(Interrupt::Rollback) => OnInterrupt::RollBack,
        _ => OnInterrupt::Pause,
    });
    Setup {
        info,
        runbook,
        mode,
        word,
        targets,
        params: settings.params,
        services: settings.services,
        app: settings.app.map(|(adapter, settings)| App { adapter, settings }),
        secrets,
        redactor,
        pieces: None,
        store: None,
        events: Arc::clone(&voice.events),
        asker: Arc::clone(&voice.asker),
        cancel: voice.cancel.clone(),
        clock,
        yes: order.yes,
        stay: order.stay,
        accept_change: false,
        chosen: order.chosen.clone(),
        waves: settings.waves,
        lock_dir: lock_dir(session),
        controller: controller(session),
        take_over: order.take_over,
        reconnect: Duration::from_millis(settings.reconnect_ms),
        on_interrupt,
    }
}

/// Makes sure that every target can be reached before anything is written or done.
pub(super) fn reach(setup: &Setup) -> Result<(), SessionError> {
    let targets: Vec<Arc<Target>> =
        setup.info.targets.iter().map(|name| setup.targets.get(name)).collect::<Result<_>>()?;
    let reached = side_by_side(targets.len(), AT_ONCE, &|_| false, &|index| {
        reach_one(&targets[index], &setup.cancel)
    });
    // In the order in which they are named, whichever was found out first.
    let all = targets.iter().zip(reached);
    let mut failed = all.filter_map(|(target, result)| Some((&target.name, result?.err()?)));
    let Some((_, first)) = failed.next() else { return Ok(()) };
    let others: Vec<&String> = failed.map(|(name, _)| name).collect();
    Err(match first {
        SessionError::Failure(failure) if !others.is_empty() => {
            SessionError::Failure(Box::new(beside(*failure, &others)))
        }
        first => first,
    })
}

/// Says with a target that cannot be reached which others are neither, so that they are not met one by one.
fn beside(mut failure: Failure, others: &[&String]) -> Failure {
    let hint = failure.hint.take().map(|hint| hint + " ").unwrap_or_default();
    let hint = format!(
        "{hint}Nor can these be reached: {}; `upgrade-host hosts --check` says why.",
        say_names(others)
    );
    failure.with_hint(hint)
}

/// Makes the way to a target. A command must show whether it can be run there.
pub(super) fn open(target: &Target, cancel: &Cancel) -> Result<(), SessionError> {
    target
        .transport
        .open(cancel)
        .map_err(|error| SessionError::Failure(Box::new(unreachable(&target.name, error))))
}

/// Makes sure that a target can be reached, and runs commands.
pub(super) fn reach_one(target: &Target, cancel: &Cancel) -> Result<(), SessionError> {
    let name = &target.name;
    if name == "local" {
        return Ok(());
    }
    let command = Command::list(["true"]).reading().timeout(Some(Duration::from_secs(60)));
    match target.transport.exec(&command, cancel, &mut |_, _| {}) {
        Ok(exit) if exit.success() => Ok(()),
        Ok(exit) => {
            let said = String::from_utf8_lossy(&exit.stderr);
            let denied = |message: String| Failure::new(Kind::Denied, message);
            let failure = sudo::refusal(&said).map_or_else(
                || denied(format!("{name} cannot run a command: {}", said.trim())),
                |sudo| denied(format!("on {name} {}", sudo.why)).with_hint(sudo.hint),
            );
            Err(SessionError::Failure(Box::new(failure.with_target(name))))
        }
        Err(error) => Err(SessionError::Failure(Box::new(unreachable(name, error)))),
    }
}

fn unreachable(name: &str, error: TransportError) -> Failure {
    let message = error.to_string();
    let (kind, hint) = match error {
        TransportError::Auth { hint, .. } | TransportError::HostKey { hint, .. } => {
            (Kind::Auth, hint)
        }
        TransportError::Connect { hint, .. } => (Kind::Connect, hint),
        _ => (Kind::Connect, None),
    };
    let mut failure = Failure::new(kind, message).with_target(name);
    failure.hint = hint;
    failure
}

fn factory(secrets: &Arc<SecretStore>, redactor: &Redactor, voice: &Voice) -> inventory::Factory {
    let (secrets, redactor, voice) = (Arc::clone(secrets), redactor.clone(), voice.clone());
    Arc::new(move |config: &TargetConfig| -> Result<SharedTransport> {
        let reveal = |name: &str| -> Result<Secret> {
            let secret = secrets.reveal(name)?;
            redactor.add(&secret);
            Ok(secret)
        };
        if config.local {
            inventory::local(config, &reveal)
        } else {
            remote(config, &reveal, &voice)
        }
    })
}

#[cfg(feature = "ssh")]
fn remote(
    config: &TargetConfig,
    reveal: inventory::Reveal<'_>,
    voice: &Voice,
) -> Result<SharedTransport> {
    use crate::transport::ssh::Ssh;
    let target = inventory::ssh_target(config, reveal)?;
    Ok(Arc::new(Ssh::new(target, Arc::new(Person(voice.clone())))))
}

#[cfg(not(feature = "ssh"))]
fn remote(
    config: &TargetConfig,
    _reveal: inventory::Reveal<'_>,
    _voice: &Voice,
) -> Result<SharedTransport> {
    let message =
        format!("{} is reached over ssh, which this program was built without", config.name);
    Err(Failure::input(message).into())
}

/// The operator, as the ssh transport asks for one.
#[cfg(feature = "ssh")]
struct Person(Voice);

#[cfg(feature = "ssh")]
impl crate::transport::ssh::Questions for Person {
    fn secret(&self, prompt: &str) -> Option<Secret> {
        self.0.prompt.ask(prompt)
    }

    fn trust_host_key(&self, target: &str, key_type: &str, fingerprint: &str) -> bool {
        use crate::effect::Question;
        // No default: an unknown key is never taken unattended.
        let text = format!(
            "The host key of {target} is not known: {key_type} {fingerprint}. Is it the right one?"
        );
        self.0.asker.ask(&Question::Confirm { text, default: None }).as_deref() == Some("yes")
    }
}

/// The directory on targets in which lock records are. All who act on the same targets must say the same.
pub(super) fn lock_dir(session: &Session) -> String {
    session.environment.var("UPGRADE_HOST_LOCK_DIR").unwrap_or(LOCK_DIR).to_owned()
}

/// Whose journal this is, for those who meet its locks.
fn controller(session: &Session) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", session.state().display())
}

fn operator(session: &Session) -> String {
    let environment = &session.environment;
    let user = environment.var("SUDO_USER").map_or_else(|| environment.user(), str::to_owned);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}

/// `20261122-2020-k3f9`: sorts by time, can be spoken; letters that are easily mistaken are left out.
fn new_id(clock: &dyn Clock) -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut number = RandomState::new().build_hasher().finish();
    let mut tail = String::new();
    for _ in 0..4 {
        let index = usize::try_from(number % LETTERS.len() as u64).unwrap_or_default();
        tail.push(char::from(LETTERS[index]));
        number /= LETTERS.len() as u64;
    }
    format!("{}-{tail}", clock.now().to_zoned(crate::zone::local()).strftime("%Y%m%d-%H%M"))
}
