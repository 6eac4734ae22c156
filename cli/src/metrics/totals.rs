//! The counters, as they are kept between runs.

use serde::{Deserialize, Serialize};

use super::event::{LayerEvent, Line, OTHER};

/// The upper bounds of the histogram's buckets, in microseconds.
pub const BOUNDS: [u64; 12] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
];

/// The most label values of a kind. Whatever comes later is counted as [`OTHER`]: an image names
/// schemes, and a series lives forever.
const MAX_SERIES: usize = 256;

/// The longest value of a label, in characters. The decoder cuts names at 128.
const MAX_LABEL: usize = 129;

/// All counters. None of them ever decreases.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Layers by verdict, scheme and fingerprint.
    pub layers: Vec<Layers>,
    /// Durations and bytes by verdict.
    pub durations: Vec<Durations>,
    /// Layers for which a wall was missing, by wall.
    pub missing_walls: Vec<MissingWall>,
    /// Calls by provider.
    pub providers: Vec<Provider>,
    /// Lines and entries of the log that are no events.
    pub skipped: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    pub verdict: String,
    pub scheme: String,
    pub fingerprint: String,
    pub count: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    pub verdict: String,
    /// How many took as long as a bucket allows and no shorter bucket does. Longer ones are in `count`
    /// alone.
    pub buckets: [u64; BOUNDS.len()],
    pub count: u64,
    pub microseconds: u64,
    pub bytes: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingWall {
    pub wall: String,
    pub count: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    pub name: String,
    pub requests: u64,
    pub failures: u64,
    pub microseconds: u64,
}

impl Totals {
    /// Counts what a line of the log says.
    pub fn count(&mut self, line: &Line) {
        match line {
            Line::Layer(event) => self.count_layer(event),
            Line::Other => {}
            Line::Garbage => add(&mut self.skipped, 1),
        }
    }

    fn count_layer(&mut self, event: &LayerEvent) {
        let (scheme, fingerprint) = (label(&event.scheme), label(&event.fingerprint));
        add(&mut self.layers(&event.verdict, &scheme, &fingerprint).count, 1);
        let durations = self.durations(&event.verdict);
        add(&mut durations.bytes, event.bytes);
        if let Some(microseconds) = event.microseconds {
            if let Some(bucket) = BOUNDS.iter().position(|bound| microseconds <= *bound) {
                add(&mut durations.buckets[bucket], 1);
            }
            add(&mut durations.count, 1);
            add(&mut durations.microseconds, microseconds);
        }
        for wall in &event.missing_walls {
            add(&mut self.missing_wall(wall).count, 1);
        }
        for calls in &event.providers {
            let provider = self.provider(&calls.name);
            add(&mut provider.requests, calls.requests);
            add(&mut provider.failures, calls.failures);
            add(&mut provider.microseconds, calls.microseconds);
        }
    }

    /// The counter of layers with these labels, from 0 on.
    pub fn layers(&mut self, verdict: &str, scheme: &str, fingerprint: &str) -> &mut Layers {
        let series = |verdict: &str, scheme: &str, fingerprint: &str| Layers {
            verdict: verdict.to_owned(),
            scheme: scheme.to_owned(),
            fingerprint: fingerprint.to_owned(),
            count: 0,
        };
        find(
            &mut self.layers,
            |known| {
                (&*known.verdict, &*known.scheme, &*known.fingerprint)
                    == (verdict, scheme, fingerprint)
            },
            || series(verdict, scheme, fingerprint),
            |known| (&*known.verdict, &*known.scheme) == (verdict, OTHER),
            || series(verdict, OTHER, OTHER),
        )
    }

    /// The durations of layers with this verdict.
    pub fn durations(&mut self, verdict: &str) -> &mut Durations {
        let is = |known: &Durations| known.verdict == verdict;
        let new = || Durations {
            verdict: verdict.to_owned(),
            buckets: [0; BOUNDS.len()],
            count: 0,
            microseconds: 0,
            bytes: 0,
        };
        find(&mut self.durations, is, new, is, new)
    }

    /// The counter of a wall, from 0 on.
    pub fn missing_wall(&mut self, wall: &str) -> &mut MissingWall {
        let wall = label(wall);
        let new = |wall: &str| MissingWall { wall: wall.to_owned(), count: 0 };
        find(
            &mut self.missing_walls,
            |known| known.wall == wall,
            || new(&wall),
            |known| known.wall == OTHER,
            || new(OTHER),
        )
    }

    /// The counters of a key provider, from 0 on.
    pub fn provider(&mut self, name: &str) -> &mut Provider {
        let name = label(name);
        let new = |name: &str| Provider {
            name: name.to_owned(),
            requests: 0,
            failures: 0,
            microseconds: 0,
        };
        find(
            &mut self.providers,
            |known| known.name == name,
            || new(&name),
            |known| known.name == OTHER,
            || new(OTHER),
        )
    }
}

/// Finds the series, or makes it; if there are too many, finds or makes the one for all others.
fn find<T>(
    series: &mut Vec<T>,
    is: impl Fn(&T) -> bool,
    new: impl Fn() -> T,
    is_other: impl Fn(&T) -> bool,
    other: impl Fn() -> T,
) -> &mut T {
    let is_full = series.len() >= MAX_SERIES;
    let found = series.iter().position(&is);
    let found = found.or_else(|| series.iter().position(is_other).filter(|_| is_full));
    let place = found.unwrap_or_else(|| {
        series.push(if is_full { other() } else { new() });
        series.len() - 1
    });
    &mut series[place]
}

/// Adds without overflow.
fn add(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

/// A value of a label: no control characters, and not too long.
pub fn label(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_LABEL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::event::{self, ProviderCalls};

    fn event(scheme: &str, microseconds: u64) -> Line {
        Line::Layer(LayerEvent {
            verdict: "decrypted".to_owned(),
            scheme: scheme.to_owned(),
            fingerprint: "f".to_owned(),
            bytes: 10,
            microseconds: Some(microseconds),
            ..LayerEvent::default()
        })
    }

    #[test]
    fn a_layer_counts_once_everywhere() {
        let mut totals = Totals::default();
        for microseconds in [100_000, 100_001, u64::MAX] {
            totals.count(&event("jwe", microseconds));
        }
        assert_eq!(totals.layers("decrypted", "jwe", "f").count, 3);
        let durations = totals.durations("decrypted");
        assert_eq!(durations.buckets[..3], [1, 1, 0]);
        assert_eq!((durations.count, durations.bytes), (3, 30));
        assert_eq!(durations.microseconds, u64::MAX);
    }

    #[test]
    fn strangers_cannot_make_series_without_end() {
        let mut totals = Totals::default();
        for n in 0..10_000 {
            totals.count(&event(&format!("provider.{n}"), 1));
            totals.count(&Line::Layer(LayerEvent {
                verdict: event::OTHER.to_owned(),
                missing_walls: vec![n.to_string()],
                providers: vec![ProviderCalls {
                    name: n.to_string(),
                    requests: 1,
                    ..ProviderCalls::default()
                }],
                ..LayerEvent::default()
            }));
        }
        assert!(totals.layers.len() <= MAX_SERIES + 2, "{}", totals.layers.len());
        assert_eq!(totals.layers.iter().map(|series| series.count).sum::<u64>(), 20_000);
        assert_eq!((totals.providers.len(), totals.missing_walls.len()), (257, 257));
        assert_eq!(totals.providers.iter().map(|series| series.requests).sum::<u64>(), 10_000);
        assert!(totals.provider("later").requests > 9000);
        assert_eq!(label(&"\n\"é".repeat(1000)).chars().count(), MAX_LABEL);
    }
}
