//! Questions to the operator. Who answers is not the effect layer's business.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "snake_case")]
pub enum Question {
    /// Yes or no.
    Confirm {
        /// The text.
        text: String,
        /// The answer that is safe, if one is.
        default: Option<bool>,
    },
    /// A line of text.
    Text {
        /// The text.
        text: String,
        /// The answer that is safe, if one is.
        default: Option<String>,
    },
    /// One of several.
    Choose {
        /// The text.
        text: String,
        /// What can be chosen.
        options: Vec<String>,
        /// The answer that is safe, if one is.
        default: Option<String>,
    },
}

impl Question {
    /// Returns the text.
    pub fn text(&self) -> &str {
        match self {
            Self::Confirm { text, .. } | Self::Text { text, .. } | Self::Choose { text, .. } => {
                text
            }
        }
    }

    /// Returns the safe answer as text.
    pub fn default(&self) -> Option<String> {
        match self {
            Self::Confirm { default, .. } => {
                default.map(|yes| if yes { "yes" } else { "no" }.to_owned())
            }
            Self::Text { default, .. } | Self::Choose { default, .. } => default.clone(),
        }
    }
}

/// Who answers questions.
pub trait Asker: Send + Sync + fmt::Debug {
    /// Returns the answer (`yes` or `no` for a confirmation), or none if nobody is there to ask.
    fn ask(&self, question: &Question) -> Option<String>;

    /// Returns whether somebody is there to ask, who may leave a question open.
    fn is_there(&self) -> bool {
        false
    }
}

/// Nobody.
#[derive(Debug)]
pub struct Nobody;

impl Asker for Nobody {
    fn ask(&self, _question: &Question) -> Option<String> {
        None
    }
}
