//! The metrics: names, labels and values. docs/metrics.md explains them.

use crate::doctor::Severity;

use super::event::VERDICTS;
use super::exposition::{Exposition, Type};
use super::node::Node;
use super::totals::{BOUNDS, Totals, label};

/// Prints all metrics. Series that an alert looks at start with 0, since the first value of a series is
/// no increase: `totals` get those that they do not have yet.
pub fn render(totals: &mut Totals, node: &Node, is_log_readable: bool) -> String {
    for verdict in VERDICTS {
        totals.layers(verdict, "", "");
        totals.durations(verdict);
    }
    for wall in keycell_walls::probe().iter().filter(|wall| wall.required) {
        totals.missing_wall(wall.name);
    }
    for provider in node.providers() {
        totals.provider(&provider);
    }
    let mut text = Exposition::default();
    layers(totals, &mut text);
    walls_and_providers(totals, &mut text);
    of_node(node, &mut text);
    of_this_program(totals, is_log_readable, &mut text);
    text.finish()
}

fn layers(totals: &Totals, text: &mut Exposition) {
    let name = "keycell_layers_total";
    text.family(
        name,
        Type::Counter,
        "Encrypted layers by verdict; by scheme and by fingerprint of the key that opened them, if one did.",
    );
    for series in &totals.layers {
        let labels = [
            ("verdict", &*series.verdict),
            ("scheme", &*series.scheme),
            ("fingerprint", &*series.fingerprint),
        ];
        text.sample(name, &labels, series.count);
    }
    let name = "keycell_layer_bytes_total";
    text.family(name, Type::Counter, "Bytes of plain layers that were written.");
    for series in &totals.durations {
        text.sample(name, &[("verdict", &series.verdict)], series.bytes);
    }
    let name = "keycell_layer_duration_seconds";
    text.family(
        name,
        Type::Histogram,
        "Time from the start of the decoder to the verdict, waiting for a slow registry included.",
    );
    for series in &totals.durations {
        let buckets = BOUNDS.into_iter().zip(series.buckets);
        let totals = (series.count, series.microseconds);
        text.histogram(name, &[("verdict", &series.verdict)], buckets, totals);
    }
}

fn walls_and_providers(totals: &Totals, text: &mut Exposition) {
    let name = "keycell_layers_without_wall_total";
    text.family(name, Type::Counter, "Layers whose decoder ran without this wall of its sandbox.");
    for series in &totals.missing_walls {
        text.sample(name, &[("wall", &series.wall)], series.count);
    }
    if totals.providers.is_empty() {
        return;
    }
    let name = "keycell_provider_requests_total";
    text.family(name, Type::Counter, "Requests to a key provider.");
    for series in &totals.providers {
        text.sample(name, &[("provider", &series.name)], series.requests);
    }
    let name = "keycell_provider_failures_total";
    text.family(name, Type::Counter, "Requests that a key provider did not answer with a key.");
    for series in &totals.providers {
        text.sample(name, &[("provider", &series.name)], series.failures);
    }
    let name = "keycell_provider_seconds_total";
    text.family(name, Type::Counter, "Time that requests to a key provider took.");
    for series in &totals.providers {
        text.seconds(name, &[("provider", &series.name)], series.microseconds);
    }
}

fn of_node(node: &Node, text: &mut Exposition) {
    let (count, keys) = node.keys();
    let name = "keycell_key_files";
    text.family(name, Type::Gauge, "Files with private keys that the decoder finds.");
    text.sample(name, &[], count as u64);
    if !keys.is_empty() {
        let name = "keycell_key_age_seconds";
        text.family(name, Type::Gauge, "Time since the file of a private key was changed.");
        for key in &keys {
            let labels = [("directory", &*label(&key.directory)), ("file", &*label(&key.file))];
            text.sample(name, &labels, key.age);
        }
    }
    let name = "keycell_doctor_exit_code";
    text.family(
        name,
        Type::Gauge,
        "Verdict of `keycell doctor`: 0 nothing will fail, 1 something will, 2 something could not be examined.",
    );
    text.sample(name, &[], node.report.exit_code().into());
    let name = "keycell_doctor_findings";
    text.family(name, Type::Gauge, "Findings of `keycell doctor` by severity.");
    for severity in [Severity::Failure, Severity::Unknown, Severity::Warning] {
        let count = node.report.count(severity) as u64;
        text.sample(name, &[("severity", severity.word())], count);
    }
}

fn of_this_program(totals: &Totals, is_log_readable: bool, text: &mut Exposition) {
    let name = "keycell_log_readable";
    text.family(name, Type::Gauge, "Whether the decoder's log could be read.");
    text.sample(name, &[], is_log_readable.into());
    let name = "keycell_log_skipped_total";
    text.family(name, Type::Counter, "Lines and entries of the log that are no events.");
    text.sample(name, &[], totals.skipped);
    let name = "keycell_build_info";
    text.family(name, Type::Gauge, "The version of `keycell`.");
    text.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
}
