#[derive(Default)]
pub struct Tally {
    cases: usize,
    passed: usize,
    worst: f64,
    failed: Vec<String>,
    uncovered: Vec<String>,
}

impl Tally {
    pub fn passed(&mut self, name: &str, ratio: f64) {
        self.cases += 1;
        self.passed += 1;
        self.worst = self.worst.max(ratio);
        if std::env::var_os("PARITY_VERBOSE").is_some() {
            println!("passed {name}: {ratio:.3} of tolerance");
        }
    }

    pub fn failed(&mut self, name: &str, why: &str) {
        self.cases += 1;
        self.failed.push(format!("{name}: {why}"));
    }

    pub fn uncovered(&mut self, name: &str, why: &str) {
        self.cases += 1;
        self.uncovered.push(format!("{name}: {why}"));
    }

    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    pub fn print(&self) {
        for line in &self.failed {
            println!("failed {line}");
        }
        for line in &self.uncovered {
            println!("not covered {line}");
        }
        let (failed, uncovered) = (self.failed.len(), self.uncovered.len());
        println!(
            "parity models: {} cases, {} passed, {failed} failed, {uncovered} not covered, worst {:.2} of tolerance",
            self.cases, self.passed, self.worst
        );
    }
}
