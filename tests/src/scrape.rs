//! What a process counts: its `/metrics`.

use reqwest::Client;

/// One reading of all metrics of a process.
#[derive(Debug, Clone)]
pub struct Scrape(String);

impl Scrape {
    pub(crate) async fn of(client: &Client, base: &str) -> Self {
        let response = client.get(format!("{base}/metrics")).send().await.unwrap();
        Self(response.text().await.unwrap())
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.lines().any(|line| value(line, name, "").is_some())
    }

    /// The sum of all series of that name which carry `label` (`outcome="delivered"`; empty: all of them).
    #[must_use]
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let series = self.0.lines().filter_map(|line| value(line, name, label));
        series.sum()
    }

    /// The largest of them; 0 where there is none.
    #[must_use]
    pub fn max(&self, name: &str, label: &str) -> f64 {
        let series = self.0.lines().filter_map(|line| value(line, name, label));
        series.fold(0.0, f64::max)
    }
}

fn value(line: &str, name: &str, label: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => ("", rest),
    };
    // Else it is a metric with a longer name.
    let value = value.strip_prefix(' ')?;
    labels.contains(label).then(|| value.trim().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_is_asked_for() {
        let text = "# HELP a_total A.\na_total{outcome=\"x\"} 2\na_total{outcome=\"y\"} 3\na_total_b 5\nb 7\n";
        let scrape = Scrape(text.to_owned());
        assert_eq!(scrape.sum("a_total", ""), 5.0);
        assert_eq!(scrape.sum("a_total", "outcome=\"y\""), 3.0);
        assert_eq!(scrape.max("a_total", ""), 3.0);
        assert_eq!(scrape.sum("b", ""), 7.0);
        assert_eq!(scrape.sum("c", ""), 0.0);
        assert!(scrape.has("a_total") && !scrape.has("a"));
    }
}
