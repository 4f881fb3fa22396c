//! Metrics of calls, with the same labels everywhere. The writer counts them, so that they cost requests nothing.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use crate::record::Record;

/// Upper bounds of the buckets of durations, in microseconds and as Prometheus writes them.
pub const BUCKETS: [(u64, &str); 12] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];

/// Series that are kept; further ones are counted together.
const MOST: usize = 10_000;

/// The label of what is not known: a function that the contract does not have, or a series too many.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    service: Box<str>,
    version: Box<str>,
    function: Box<str>,
    protocol: &'static str,
    outcome: &'static str,
    cache: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    /// Calls in each bucket, and in none.
    buckets: [u64; BUCKETS.len() + 1],
    micros: u64,
}

/// All series.
#[derive(Debug, Default)]
pub(crate) struct Series(Mutex<BTreeMap<Labels, Counts>>);

impl Series {
    /// Counts a call that reached a version; others have no labels but those that their callers chose.
    pub(crate) fn count(&self, record: &Record) {
        let Some(labels) = Labels::of(record) else { return };
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = if series.len() >= MOST && !series.contains_key(&labels) { labels.other() } else { labels };
        let counts = series.entry(labels).or_default();
        counts.buckets[BUCKETS.partition_point(|(bound, _)| *bound < record.total)] += 1;
        counts.micros += record.total;
    }

    /// Appends all of them in Prometheus' text format.
    pub(crate) fn write(&self, out: &mut String) {
        // Written from a copy: the writer must not wait for a page to be made.
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        out.push_str("# HELP kea_calls_total Calls of a version's functions by how they ended.\n");
        out.push_str("# TYPE kea_calls_total counter\n");
        for (labels, counts) in &series {
            let _ = writeln!(out, "kea_calls_total{{{}}} {}", labels.text(), counts.total());
        }
        out.push_str("# HELP kea_call_duration_seconds Time from a call's head to the end of its answer.\n");
        out.push_str("# TYPE kea_call_duration_seconds histogram\n");
        series.iter().for_each(|(labels, counts)| counts.write(&labels.text(), out));
    }
}

impl Labels {
    fn of(record: &Record) -> Option<Self> {
        let function = record.function.as_deref().filter(|_| record.function_known).unwrap_or(OTHER);
        Some(Self {
            service: record.service.clone()?,
            version: record.version.as_deref()?.into(),
            function: function.into(),
            protocol: record.protocol,
            outcome: record.outcome.as_str(),
            cache: record.cache.unwrap_or("none"),
        })
    }

    fn other(self) -> Self {
        Self { service: OTHER.into(), version: OTHER.into(), function: OTHER.into(), ..self }
    }

    fn text(&self) -> String {
        let Self { service, version, function, protocol, outcome, cache } = self;
        format!(
            "service=\"{service}\",version=\"{version}\",function=\"{function}\",protocol=\"{protocol}\",\
             outcome=\"{outcome}\",cache=\"{cache}\""
        )
    }
}

impl Counts {
    fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn write(&self, labels: &str, out: &mut String) {
        let mut sum = 0;
        // Writing to a String cannot fail.
        for ((_, bound), count) in BUCKETS.iter().zip(self.buckets) {
            sum += count;
            let _ = writeln!(out, "kea_call_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {sum}");
        }
        let total = self.total();
        let _ = writeln!(out, "kea_call_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {total}");
        let seconds = self.micros as f64 / 1e6;
        let _ = writeln!(out, "kea_call_duration_seconds_sum{{{labels}}} {seconds}");
        let _ = writeln!(out, "kea_call_duration_seconds_count{{{labels}}} {total}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fault, Outcome};

    fn call(service: &str, function: &str, known: bool, micros: u64) -> Record {
        Record {
            service: Some(service.into()),
            version: Some("1".into()),
            function: Some(function.into()),
            function_known: known,
            outcome: Outcome::Success,
            fault: Fault::None,
            total: micros,
            ..Record::begun("r".into(), "t".into(), http::Method::POST, http::Uri::default())
        }
    }

    fn page(records: &[Record]) -> String {
        let (series, mut out) = (Series::default(), String::new());
        records.iter().for_each(|record| series.count(record));
        series.write(&mut out);
        out
    }

    #[test]
    fn buckets_hold_all_below_them() {
        let page = page(&[call("iris", "predict", true, 1_000), call("iris", "predict", true, 20_000_000)]);
        for (bound, count) in [("0.001", 1), ("10", 1), ("+Inf", 2)] {
            let line = page.lines().find(|line| line.contains(&format!("le=\"{bound}\"")));
            assert!(line.unwrap().ends_with(&format!(" {count}")), "{page}");
        }
        assert!(page.contains("kea_calls_total{service=\"iris\",version=\"1\",function=\"predict\""), "{page}");
    }

    #[test]
    fn functions_that_callers_made_up_are_one_series() {
        let page = page(&[call("iris", "x1", false, 1), call("iris", "x2", false, 1)]);
        assert!(page.contains("function=\"other\"") && !page.contains("x1"), "{page}");
    }

    #[test]
    fn series_are_bounded() {
        let many: Vec<_> = (0..MOST + 5).map(|number| call(&format!("s{number}"), "predict", true, 1)).collect();
        let counters = page(&many).lines().filter(|line| line.starts_with("kea_calls_total{")).count();
        assert_eq!(counters, MOST + 1);
    }
}
