//! How the replication stands, as an adapter tells it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::effect::{App, Cx, Query};
use crate::error::Result;
use crate::primitives::app::{text_or_nothing, verb};

/// How the replication stands, as an adapter tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standing {
    /// Whether it is on; none if that cannot be told.
    #[serde(default)]
    pub(super) enabled: Option<bool>,
    /// The application's word.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub(super) state: String,
    #[serde(default)]
    pub(super) in_step: bool,
    #[serde(default)]
    pub(super) lag: Value,
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub(super) detail: String,
}

impl Standing {
    pub(super) fn read(cx: &Cx<'_>, app: &App) -> Result<Self> {
        verb(cx, app, "replication", &[])
    }

    pub(super) fn say(&self) -> String {
        let enabled = match self.enabled {
            Some(true) => "on",
            Some(false) => "off",
            None => "unknown",
        };
        let lag = match &self.lag {
            Value::Null => String::new(),
            Value::String(text) => format!(", {text} behind"),
            other => format!(", {other} behind"),
        };
        let words = [self.state.as_str(), self.detail.as_str()];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            format!("{enabled}{lag}")
        } else {
            format!("{enabled} ({}){lag}", words.join(", "))
        }
    }
}

/// Tells how the replication stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) app: App,
}

impl Query for Status {
    const NAME: &'static str = "replication_status";
    type Output = Standing;

    fn summary(&self) -> String {
        format!("look at replication ({})", self.app.adapter)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Standing> {
        Standing::read(cx, &self.app)
    }

    fn result(&self, output: &Standing) -> Option<String> {
        Some(output.say())
    }
}
