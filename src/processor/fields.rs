//! The fields of a processor's config, each read as what it must be.

use pillow_exact::Filter;
use serde_json::{Map, Value};

use super::error::{ConfigError, wrong};
use super::kind::ProcessorKind;

/// The fields of the config. In transformers' a null is a value: a switch is off, and what a step needs is not there.
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// Those that are not null, which open_clip and timm take for absent.
    pub(super) fn without_nulls(object: &Map<String, Value>) -> Self {
        let mut given = object.clone();
        given.retain(|_, value| !value.is_null());
        Self(given)
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    pub(super) fn wrong(&self, field: &str, expected: &str) -> ConfigError {
        wrong(field, self.get(field).unwrap_or(&Value::Null), expected)
    }

    /// The class that the config names, if it names one.
    pub(super) fn kind(&self) -> Result<Option<ProcessorKind>, ConfigError> {
        // A config that names a processor names it in the first of these; the second is its older spelling, often left behind.
        for field in ["image_processor_type", "feature_extractor_type"] {
            match self.get(field) {
                None | Some(Value::Null) => {}
                Some(Value::String(name)) => match ProcessorKind::named(name) {
                    Some(kind) => return Ok(Some(kind)),
                    None => return Err(ConfigError::OtherProcessor { field, found: name.clone() }),
                },
                Some(_) => return Err(self.wrong(field, "a name")),
            }
        }
        Ok(None)
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(field, "true or false")),
        }
    }

    pub(super) fn number(&self, field: &str) -> Result<Option<f64>, ConfigError> {
        self.get(field).map(|value| finite(value).ok_or_else(|| self.wrong(field, "a number"))).transpose()
    }

    pub(super) fn filter(&self, field: &str) -> Result<Option<Filter>, ConfigError> {
        let parse = |value: &Value| value.as_u64().and_then(Filter::from_number);
        self.get(field)
            .map(|value| {
                let expected = "0 (nearest), 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 (hamming)";
                parse(value).ok_or_else(|| self.wrong(field, expected))
            })
            .transpose()
    }

    /// A word.
    pub(super) fn word(&self, field: &str) -> Result<Option<&str>, ConfigError> {
        self.get(field).map(|value| value.as_str().ok_or_else(|| self.wrong(field, "a word"))).transpose()
    }

    /// Numbers to divide by, as [`Fields::channels`].
    pub(super) fn deviations(&self, field: &str) -> Result<Option<[f64; 3]>, ConfigError> {
        match self.channels(field)? {
            Some(std) if std.iter().any(|&value| value as f32 == 0.0) => {
                Err(self.wrong(field, "other than zero"))
            }
            std => Ok(std),
        }
    }

    /// Three numbers, or one for all three channels.
    pub(super) fn channels(&self, field: &str) -> Result<Option<[f64; 3]>, ConfigError> {
        let parse = |value: &Value| match value {
            Value::Array(items) => {
                let numbers: Vec<f64> = items.iter().map(finite).collect::<Option<_>>()?;
                numbers.try_into().ok()
            }
            single => finite(single).map(|number| [number; 3]),
        };
        self.get(field).map(|value| parse(value).ok_or_else(|| self.wrong(field, "3 numbers"))).transpose()
    }
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}
