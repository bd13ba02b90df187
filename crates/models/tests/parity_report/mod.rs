//! What the parity tests share: where the pack is, and the report of what passed, failed or is not covered.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}

/// `PARITY_DIR` (absolute or relative to the repository), else `../shared/parity`, else `test/fixtures/parity`.
pub fn pack() -> PathBuf {
    let root = repository();
    match std::env::var_os("PARITY_DIR").filter(|value| !value.is_empty()) {
        Some(folder) => root.join(folder),
        None => [root.join("../shared/parity"), root.join("test/fixtures/parity")]
            .into_iter()
            .find(|folder| folder.is_dir())
            .expect("a parity pack at ../shared/parity or test/fixtures/parity"),
    }
}

/// The outcome of one stored call.
pub enum Outcome {
    /// Within the tolerance; the share of it that was used.
    Passed(f64),
    /// Outside of it, or an error.
    Failed(String),
    /// A kind that the test does not know.
    NotCovered(String),
}

impl Outcome {
    /// Passed for equal values.
    pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, actual: &T, expected: &T) -> Self {
        if actual == expected {
            return Self::Passed(0.0);
        }
        Self::Failed(format!("{what}: expected {expected:?} but received {actual:?}"))
    }

    /// Passed where every difference is at most its own tolerance.
    pub fn close(actual: &[f64], expected: &[f64], tolerance: impl Fn(f64) -> f64) -> Self {
        if actual.len() != expected.len() {
            return Self::Failed(format!("expected {} values but received {}", expected.len(), actual.len()));
        }
        let used = |(a, e): (&f64, &f64)| if a == e { 0.0 } else { (a - e).abs() / tolerance(*e) };
        let worst = actual.iter().zip(expected).map(used).fold(0.0, |worst, used| if used > worst || used.is_nan() { used } else { worst });
        if worst <= 1.0 {
            Self::Passed(worst)
        } else {
            Self::Failed(format!("{worst:.3} of tolerance"))
        }
    }

    /// The worse of two outcomes of one call.
    pub fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Passed(worst) => match other() {
                Self::Passed(second) => Self::Passed(worst.max(second)),
                worse => worse,
            },
            worse => worse,
        }
    }
}

/// Counts outcomes and prints the area's closing line.
pub struct Report {
    area: &'static str,
    passed: usize,
    failed: Vec<String>,
    uncovered: Vec<String>,
    worst: f64,
}

impl Report {
    pub fn new(area: &'static str) -> Self {
        Self { area, passed: 0, failed: Vec::new(), uncovered: Vec::new(), worst: 0.0 }
    }

    pub fn add(&mut self, name: impl Into<String>, outcome: Outcome) {
        match outcome {
            Outcome::Passed(worst) => {
                self.passed += 1;
                self.worst = self.worst.max(worst);
            }
            Outcome::Failed(why) => self.failed.push(format!("{}: {why}", name.into())),
            Outcome::NotCovered(why) => self.uncovered.push(format!("{}: {why}", name.into())),
        }
    }

    /// Prints failed and uncovered calls by name and the closing line; panics if anything failed or nothing was found.
    pub fn finish(self) {
        let Self { area, passed, failed, uncovered, worst } = self;
        failed.iter().for_each(|line| println!("failed {area} {line}"));
        uncovered.iter().for_each(|line| println!("not covered {area} {line}"));
        let cases = passed + failed.len() + uncovered.len();
        println!(
            "parity {area}: {cases} cases, {passed} passed, {} failed, {} not covered, worst {worst:.2} of tolerance",
            failed.len(),
            uncovered.len()
        );
        assert!(failed.is_empty(), "{} of {cases} {area} cases failed", failed.len());
        assert!(cases > 0, "the pack holds no {area} cases");
    }
}
