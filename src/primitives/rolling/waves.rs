//! How many lanes of a list begin together: the sizes of the waves, how many may fail, and the pause between two waves.
//! The options of `rolling`, of `RUNBOOK` and of the command line are read here, and mean the same.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::primitives::lanes::MAX;
use crate::units;

/// How many are through after a wave, as written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Size {
    /// So many.
    Count(usize),
    /// So many of a hundred.
    Percent(f64),
}

impl TryFrom<Value> for Size {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
    }
}

impl From<Size> for Value {
    fn from(size: Size) -> Self {
        match size {
            Size::Count(count) => count.into(),
            Size::Percent(percent) => format!("{percent}%").into(),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let size = match text.strip_suffix('%') {
            Some(percent) => percent
                .trim()
                .parse()
                .ok()
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(Self::Percent),
            None => text.parse().ok().filter(|count| *count > 0).map(Self::Count),
        };
        size.ok_or_else(|| {
            format!("a wave is a number such as 1, or a text such as \"10%\", not {text}")
        })
    }
}

impl Size {
    /// Returns how many of `all` are through after it; a percentage is at least one.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of targets, and a share of it"
    )]
    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.min(all),
            Self::Percent(percent) => {
                ((all as f64 * percent / 100.0).floor() as usize).max(1).min(all)
            }
        }
    }
}

/// How a list is gone through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waves {
    /// How many are through after each wave.
    sizes: Vec<Size>,
    /// How many run at once.
    pub max: usize,
    /// How many may fail before no other begins.
    pub max_failures: usize,
    /// How long nothing begins between two waves, in milliseconds.
    pause_ms: Option<u64>,
}

impl Default for Waves {
    /// One first, then few, then half.
    fn default() -> Self {
        let sizes =
            vec![Size::Count(1), Size::Percent(10.0), Size::Percent(50.0), Size::Percent(100.0)];
        Self { sizes, max: MAX, max_failures: 0, pause_ms: None }
    }
}

impl Waves {
    /// Returns the pause between two waves.
    pub fn pause(&self) -> Option<Duration> {
        self.pause_ms.map(Duration::from_millis)
    }

    /// Returns how many of `all` are through after each wave; the last wave is through with all of them.
    pub fn ends(&self, all: usize) -> Vec<usize> {
        let mut ends: Vec<usize> = Vec::new();
        for size in &self.sizes {
            // A small list makes some waves the same.
            ends.push(size.of(all).max(ends.last().copied().unwrap_or(0)));
        }
        ends.push(all);
        ends.dedup();
        ends.retain(|end| *end > 0);
        ends
    }
}

/// What is said of the waves somewhere; the rest is said elsewhere, or is as usual.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RollingOptions {
    waves: Option<Vec<Size>>,
    max: Option<usize>,
    max_failures: Option<usize>,
    pause: Option<Duration>,
}

impl RollingOptions {
    /// What may be said.
    pub const OPTIONS: [&str; 4] = ["waves", "max", "max_failures", "pause"];

    /// Says that all begin in one wave, at most `max` side by side, whatever fails.
    pub fn together(max: usize) -> Self {
        let (waves, max_failures) = (Some(Vec::new()), Some(usize::MAX));
        Self { waves, max: Some(max), max_failures, pause: None }
    }

    /// Returns how many run at once, if it is said.
    pub fn max(&self) -> Option<usize> {
        self.max
    }

    /// Returns which of [`RollingOptions::OPTIONS`] are said.
    pub fn said(&self) -> Vec<&'static str> {
        let said = [
            self.waves.is_some(),
            self.max.is_some(),
            self.max_failures.is_some(),
            self.pause.is_some(),
        ];
        Self::OPTIONS
            .into_iter()
            .zip(said)
            .filter(|(_, said)| *said)
            .map(|(name, _)| name)
            .collect()
    }

    /// Reads a map of options.
    ///
    /// # Errors
    /// A fragment that names the option and what was expected, or the nearest known one.
    pub fn read(options: &serde_json::Map<String, Value>) -> Result<Self, String> {
        let mut said = Self::default();
        for (option, value) in options {
            if !Self::OPTIONS.contains(&option.as_str()) {
                let hint = match units::nearest(option, Self::OPTIONS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it takes {}", Self::OPTIONS.join(", ")),
                };
                return Err(format!("unknown option `{option}` ({hint})"));
            }
            said.set(option, value).map_err(|why| format!("option `{option}`: {why}"))?;
        }
        Ok(said)
    }

    /// Takes one of [`RollingOptions::OPTIONS`].
    ///
    /// # Errors
    /// A fragment that says what is wrong with its value.
    pub fn set(&mut self, option: &str, value: &Value) -> Result<(), String> {
        let count = |least: u64, why: &str| {
            let number = value.as_u64().filter(|number| *number >= least);
            number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| why.to_owned())
        };
        match option {
            "waves" => {
                let list = value.as_array().ok_or("it must be a list such as [1, \"10%\"]")?;
                let sizes: Vec<Size> =
                    list.iter().cloned().map(Size::try_from).collect::<Result<_, _>>()?;
                rise(&sizes)?;
                self.waves = Some(sizes);
            }
            "max" => self.max = Some(count(1, "it must be at least 1")?),
            "max_failures" => {
                self.max_failures =
                    Some(count(0, "it must be a whole number and must not be negative")?);
            }
            "pause" => {
                self.pause = Some(match value {
                    Value::String(text) => units::duration(text)?,
                    other => Duration::from_secs(
                        other.as_u64().ok_or("it must be a duration such as \"5m\", or seconds")?,
                    ),
                });
            }
            other => return Err(format!("there is no option `{other}`")),
        }
        Ok(())
    }

    /// Returns this, and what is said by `other` where nothing is said here.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            waves: self.waves.or(other.waves),
            max: self.max.or(other.max),
            max_failures: self.max_failures.or(other.max_failures),
            pause: self.pause.or(other.pause),
        }
    }

    /// Returns the waves, the rest as usual.
    pub fn waves(self) -> Waves {
        let usual = Waves::default();
        let pause_ms = self.pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        Waves {
            sizes: self.waves.unwrap_or(usual.sizes),
            max: self.max.unwrap_or(usual.max),
            max_failures: self.max_failures.unwrap_or(usual.max_failures),
            pause_ms,
        }
    }
}

/// Makes sure that sizes of the same kind rise.
fn rise(sizes: &[Size]) -> Result<(), String> {
    let falls = sizes.windows(2).any(|pair| match pair {
        [Size::Count(before), Size::Count(after)] => after < before,
        [Size::Percent(before), Size::Percent(after)] => after < before,
        _ => false,
    });
    if falls {
        return Err("waves say how many are through after each, so they must rise".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(options: &Value) -> Result<Waves, String> {
        RollingOptions::read(options.as_object().unwrap()).map(RollingOptions::waves)
    }

    #[test]
    fn waves_say_how_many_are_through() {
        for (all, ends) in [
            (0, vec![]),
            (1, vec![1]),
            (3, vec![1, 3]),
            (10, vec![1, 5, 10]),
            (40, vec![1, 4, 20, 40]),
            (1000, vec![1, 100, 500, 1000]),
        ] {
            assert_eq!(Waves::default().ends(all), ends, "{all}");
        }
        assert_eq!(of(&json!({ "waves": [2] })).unwrap().ends(5), [2, 5]);
        assert_eq!(of(&json!({ "waves": [] })).unwrap().ends(5), [5]);
        assert_eq!(RollingOptions::together(3).waves().ends(5), [5]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (options, why) in [
            (
                json!({ "waves": [5, 2] }),
                "option `waves`: waves say how many are through after each, so they must rise",
            ),
            (json!({ "waves": ["50%", "10%"] }), "must rise"),
            (json!({ "waves": 3 }), "must be a list"),
            (json!({ "wave": [1] }), "unknown option `wave` (did you mean `waves`?)"),
            (
                json!({ "gate": 1 }),
                "unknown option `gate` (it takes waves, max, max_failures, pause)",
            ),
            (json!({ "max": 0 }), "option `max`: it must be at least 1"),
            (json!({ "max_failures": -1 }), "must not be negative"),
            (json!({ "max_failures": 1.5 }), "must be a whole number"),
            (json!({ "pause": "soon" }), "option `pause`: "),
            (json!({ "pause": -1 }), "a duration such as"),
        ] {
            let said = of(&options).unwrap_err();
            assert!(said.contains(why), "{options}: {said}");
        }
        for size in [json!(0), json!(-1), json!("ten"), json!("0%"), json!("101%"), json!(true)] {
            let said = of(&json!({ "waves": [size] })).unwrap_err();
            assert!(said.contains("a wave is"), "{said}");
        }
    }

    #[test]
    fn what_is_said_first_counts_and_the_record_reads_back() {
        let said = |options: Value| RollingOptions::read(options.as_object().unwrap()).unwrap();
        let first = said(json!({ "waves": ["12.5%", 3], "pause": "5m" }));
        let second = said(json!({ "waves": [1], "max_failures": 2, "pause": 1 }));
        let waves = first.or(second).waves();
        assert_eq!(waves.pause(), Some(Duration::from_secs(300)));
        assert_eq!((waves.max, waves.max_failures), (MAX, 2));
        let record = serde_json::to_value(&waves).unwrap();
        assert_eq!(record["sizes"], json!(["12.5%", 3]));
        assert_eq!(serde_json::from_value::<Waves>(record).unwrap(), waves);
    }
}
