//! Backup jobs: finished ones of every user, and running ones while the settings say so.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::config::Config;
use super::log;
use super::users::{User, Users, value};
use super::xml::Element;

/// Which jobs may run, chosen at the start among the users that are not suspended.
#[derive(Debug)]
pub struct Jobs {
    started: Timestamp,
    running: Vec<(String, String)>,
}

impl Jobs {
    /// Chooses the jobs.
    pub fn start(users: &Users, config: &Config) -> Self {
        let count = usize::try_from(config.number("jobs_running")).unwrap_or(0);
        let enabled = users.all.iter().filter(|user| user.status() == "ENABLE");
        let running = enabled
            .take(count)
            .map(|user| (user.login().to_owned(), user.owner().to_owned()))
            .collect();
        Self { started: Timestamp::now(), running }
    }

    /// When the running jobs began, if they still run; by the real clock.
    fn running_since(&self, config: &Config) -> Option<Timestamp> {
        let set = Timestamp::from_millisecond(config.signed("jobs_running_since"))
            .unwrap_or(self.started);
        let since = set.max(self.started);
        let length = SignedDuration::from_secs(config.signed("jobs_running_s"));
        (since.checked_add(length).ok()? > Timestamp::now()).then_some(since)
    }

    /// How many jobs run.
    pub fn count(&self, config: &Config) -> usize {
        self.running_since(config).map_or(0, |_| self.running.len())
    }

    /// The jobs that run, as `ListBackupJobMode` shows them.
    pub fn modes(&self, users: &Users, config: &Config) -> Element {
        let mut root = Element::new("BackupJobModes");
        for (user, start) in self.running(users, config) {
            root = root.child(job(user, &start).with("Mode", "RUNNING"));
        }
        root
    }

    fn running<'a>(&self, users: &'a Users, config: &Config) -> Vec<(&'a User, Zoned)> {
        let Some(since) = self.running_since(config) else { return Vec::new() };
        let offset = SignedDuration::from_secs(config.signed("clock_offset_s"));
        let start = since.checked_add(offset).unwrap_or(since).to_zoned(TimeZone::system());
        let runs =
            |user: &&User| self.running.iter().any(|(l, o)| l == user.login() && o == user.owner());
        users.all.iter().filter(runs).map(|user| (user, start.clone())).collect()
    }

    /// The jobs that began on a day (`YYYY-MM-DD`), as `ListBackupJobStatus` shows them.
    pub fn statuses(
        &self,
        users: &Users,
        config: &Config,
        date: &str,
        login: Option<&str>,
    ) -> Element {
        let mut root = Element::new("BackupJobs");
        let asked = |user: &User| login.is_none_or(|login| login == user.login());
        for user in users.all.iter().filter(|user| asked(user)) {
            let last = value(&user.attributes, "LastBackupDate").parse().unwrap_or(0);
            let Ok(last) = Timestamp::from_millisecond(last) else { continue };
            let start = last.to_zoned(log::now(config).time_zone().clone());
            if start.strftime("%Y-%m-%d").to_string() == date {
                let end = last.as_millisecond() + 60_000;
                root = root.child(
                    job(user, &start)
                        .with("EndTime", end.to_string())
                        .with("BackupJobStatus", "BS_STOP_SUCCESS"),
                );
            }
        }
        for (user, start) in self.running(users, config) {
            if asked(user) && start.strftime("%Y-%m-%d").to_string() == date {
                root = root.child(
                    job(user, &start).with("EndTime", "").with("BackupJobStatus", "BS_RUNNING"),
                );
            }
        }
        root
    }
}

fn job(user: &User, start: &Zoned) -> Element {
    let set = user.sets.first();
    let of_set = |name| set.map_or("", |set| value(set, name));
    Element::new("BackupJob")
        .with("ID", start.strftime("%Y-%m-%d-%H-%M-%S").to_string())
        .with("LoginName", user.login())
        .with("Owner", user.owner())
        .with("BackupSetID", of_set("ID"))
        .with("BackupSetName", of_set("Name"))
        .with("StartTime", start.timestamp().as_millisecond().to_string())
}
