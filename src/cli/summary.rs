//! What became of a run's images, in words and in JSON.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    job::{Ended, Tally},
    shard::NotRead,
};

/// How many images came to which end, and how fast, since the work began: the model is loaded and the output open.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// Pictures and tars that were met and are not read.
    #[serde(skip_serializing_if = "NotRead::is_empty")]
    pub(super) not_read: NotRead,
    seconds: f64,
    /// Of the images that were done.
    images_per_second: f64,
}

impl Summary {
    pub(super) fn of(tally: Tally, elapsed: Duration) -> Self {
        let rounded = |number: f64| (number * 1e3).round() / 1e3;
        let seconds = elapsed.as_secs_f64();
        Self {
            tally,
            not_read: NotRead::default(),
            seconds: rounded(seconds),
            images_per_second: rounded(tally.done as f64 / seconds.max(1e-9)),
        }
    }

    /// The same with what was met and is not read.
    pub(super) fn with(self, not_read: NotRead) -> Self {
        Self { not_read, ..self }
    }

    /// `1900 done, 12 complete before, 8 failed, 80 accepted failures in 25:03, 1.26 images/s`
    pub(super) fn words(&self) -> String {
        let Tally { done, skipped, changed, failed, accepted, .. } = self.tally;
        let mut words = format!("{done} done");
        for (count, what) in [
            (skipped, "complete before"),
            (changed, "changed since"),
            (failed, "failed"),
            (accepted, "accepted failures"),
        ] {
            if count > 0 {
                words += &format!(", {count} {what}");
            }
        }
        let seconds = self.seconds as u64;
        let rate = self.images_per_second;
        format!("{words} in {}:{:02}, {rate:.2} images/s", seconds / 60, seconds % 60)
    }

    /// `all 4 are complete`, where that is all there is to say.
    pub(super) fn nothing_to_do(&self) -> Option<String> {
        let Tally { done, skipped, changed, failed, .. } = self.tally;
        match (skipped, done + changed + failed) {
            (0, _) | (_, 1..) => None,
            (1, 0) => Some("it is complete".into()),
            (images, 0) => Some(format!("all {images} are complete")),
        }
    }

    /// Seconds that the rest of `total` images take, if it can be told.
    pub(super) fn seconds_left(&self, total: Option<u64>) -> Option<f64> {
        let left = total?.checked_sub(self.tally.seen())?;
        let done = self.tally.done;
        (done > 0).then(|| (self.seconds / done as f64 * left as f64).round())
    }

    /// `{"progress":{"done":…,"total":…}}`, of a run that goes on.
    pub(super) fn progress(&self, total: Option<u64>) -> String {
        self.json("progress", &[("total", json!(total)), ("seconds_left", json!(self.seconds_left(total)))])
    }

    /// `{"summary":{"ended":"complete","done":…}}`, of one that has ended. None ended it where an error did.
    pub(super) fn ended(&self, ended: Option<Ended>) -> String {
        let ended = match ended {
            Some(Ended::Complete) => "complete",
            Some(Ended::Stopped) => "interrupted",
            Some(Ended::TooManyFailures) => "too_many_failures",
            Some(Ended::Unheard) => "reader_gone",
            None => "error",
        };
        self.json("summary", &[("ended", json!(ended))])
    }

    fn json(&self, kind: &str, more: &[(&str, Value)]) -> String {
        let mut facts = json!(self);
        more.iter().for_each(|(name, fact)| facts[name] = fact.clone());
        json!({ kind: facts }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALLY: Tally = Tally { done: 4, skipped: 2, changed: 0, failed: 1, accepted: 0, not_finite: 0 };

    #[test]
    fn words_and_json_say_the_same() {
        let summary = Summary::of(TALLY, Duration::from_millis(62_500));
        assert_eq!(summary.words(), "4 done, 2 complete before, 1 failed in 1:02, 0.06 images/s");
        let value: serde_json::Value = serde_json::from_str(&summary.ended(Some(Ended::Stopped))).unwrap();
        let facts = json!({ "ended": "interrupted", "done": 4, "skipped": 2, "failed": 1, "seconds": 62.5,
            "images_per_second": 0.064 });
        assert_eq!(value, json!({ "summary": facts }));
    }

    #[test]
    fn where_all_is_complete_there_is_nothing_to_do() {
        let said = |done, skipped, failed| {
            Summary::of(Tally { done, skipped, failed, ..Tally::default() }, Duration::ZERO).nothing_to_do()
        };
        assert_eq!(said(0, 4, 0).as_deref(), Some("all 4 are complete"));
        assert_eq!(said(0, 1, 0).as_deref(), Some("it is complete"));
        assert_eq!([said(1, 4, 0), said(0, 4, 1), said(0, 0, 0)], [None, None, None]);
    }

    #[test]
    fn what_is_left_is_told_from_what_was_done() {
        let summary = Summary::of(TALLY, Duration::from_secs(8));
        assert_eq!(summary.seconds_left(Some(10)), Some(6.0));
        assert_eq!(summary.seconds_left(None), None);
        assert_eq!(Summary::of(Tally::default(), Duration::ZERO).seconds_left(Some(10)), None);
        let value: serde_json::Value = serde_json::from_str(&summary.progress(Some(10))).unwrap();
        assert_eq!(
            (&value["progress"]["total"], &value["progress"]["seconds_left"]),
            (&json!(10), &json!(6.0))
        );
    }
}
