//! The text that is printed. It is OpenMetrics, and at the same time the text format of Prometheus,
//! which is what node_exporter's textfile collector reads.
//!
//! The formats agree about everything except the type of a counter: OpenMetrics declares it without
//! `_total`, Prometheus with it, and each refuses or ignores the other's declaration. So counters have a
//! help text and no type, which both accept.

use std::fmt::Write as _;

/// The type of a metric family.
#[derive(Clone, Copy)]
pub enum Type {
    /// Its name ends with `_total`.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Numbers of observations below bounds.
    Histogram,
}

/// The text.
#[derive(Default)]
pub struct Exposition(String);

/// Names and values of labels.
pub type Labels<'a> = [(&'a str, &'a str)];

impl Exposition {
    /// Begins the family `name`. Its samples follow. A name that ends with `_seconds` has that unit.
    pub fn family(&mut self, name: &str, kind: Type, help: &str) {
        let text = &mut self.0;
        let _ = writeln!(text, "# HELP {name} {help}");
        let kind = match kind {
            Type::Counter => return,
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if name.ends_with("_seconds") {
            let _ = writeln!(text, "# UNIT {name} seconds");
        }
    }

    /// Adds a sample.
    pub fn sample(&mut self, name: &str, labels: &Labels<'_>, value: u64) {
        self.put(name, labels, &value.to_string());
    }

    /// Adds a sample in seconds.
    pub fn seconds(&mut self, name: &str, labels: &Labels<'_>, microseconds: u64) {
        self.put(name, labels, &seconds(microseconds));
    }

    /// Adds a histogram with labels: bounds in microseconds with the number of observations in each
    /// bucket, the number of all observations, and their sum in microseconds.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &Labels<'_>,
        buckets: impl Iterator<Item = (u64, u64)>,
        (count, sum): (u64, u64),
    ) {
        let bucket = format!("{name}_bucket");
        let mut so_far: u64 = 0;
        let mut put = |bound: &str, value: u64| {
            let labels = [labels, &[("le", bound)]].concat();
            self.put(&bucket, &labels, &value.to_string());
        };
        for (bound, number) in buckets {
            so_far = so_far.saturating_add(number);
            put(&seconds(bound), so_far.min(count));
        }
        put("+Inf", count);
        self.seconds(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// Ends the text.
    pub fn finish(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }

    fn put(&mut self, name: &str, labels: &Labels<'_>, value: &str) {
        let text = &mut self.0;
        text.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let _ = write!(text, "{before}{label}=\"{}\"", escape(value));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(text, "{after} {value}");
    }
}

/// Seconds with all digits, since a conversion to a floating-point number could decrease a counter.
fn seconds(microseconds: u64) -> String {
    let fraction = format!("{:06}", microseconds % 1_000_000);
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{}.{fraction}", microseconds / 1_000_000)
}

/// The value of a label, as both formats escape it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_family() {
        let mut text = Exposition::default();
        text.family("a_total", Type::Counter, "Things.");
        text.sample("a_total", &[("b", "x\"\\\ny"), ("c", "")], 7);
        text.family("d_seconds", Type::Histogram, "Times.");
        text.histogram(
            "d_seconds",
            &[("e", "f")],
            [(100_000, 1), (2_000_000, 2)].into_iter(),
            (4, 12_345_678),
        );
        text.family("g", Type::Gauge, "Ups and downs.");
        text.sample("g", &[], 1);
        let wanted = "# HELP a_total Things.\n\
            a_total{b=\"x\\\"\\\\\\ny\",c=\"\"} 7\n\
            # HELP d_seconds Times.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\n\
            d_seconds_bucket{e=\"f\",le=\"0.1\"} 1\n\
            d_seconds_bucket{e=\"f\",le=\"2.0\"} 3\n\
            d_seconds_bucket{e=\"f\",le=\"+Inf\"} 4\n\
            d_seconds_sum{e=\"f\"} 12.345678\n\
            d_seconds_count{e=\"f\"} 4\n\
            # HELP g Ups and downs.\n# TYPE g gauge\ng 1\n# EOF\n";
        assert_eq!(text.finish(), wanted);
    }

    #[test]
    fn seconds_keep_every_digit() {
        for (microseconds, text) in
            [(0, "0.0"), (1, "0.000001"), (1_500_000, "1.5"), (u64::MAX, "18446744073709.551615")]
        {
            assert_eq!(seconds(microseconds), text);
        }
    }
}
