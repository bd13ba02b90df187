//! Where the time of a run goes: a record for each kind and shape of operation, while a recording is on. Costs one relaxed load per operation otherwise.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What operations of one kind and shape took together.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// `linear`, `conv`, `attention`, ...; `other` is everything outside of operations.
    pub kind: &'static str,
    /// Sizes, as in `8192 x 320 -> 320`.
    pub shape: String,
    pub calls: u64,
    /// Wall time.
    pub seconds: f64,
    /// User and system time of all threads of the process.
    pub cpu_seconds: f64,
    /// Floating point operations of the direct method; 0 for what is bound by memory.
    pub flops: f64,
    /// Pages that the kernel had to map.
    pub faults: u64,
}

struct Recording {
    start: Moment,
    records: HashMap<(&'static str, String), Record>,
}

static ON: AtomicBool = AtomicBool::new(false);
static RECORDING: Mutex<Option<Recording>> = Mutex::new(None);

thread_local! {
    /// Operations inside operations belong to the outer one.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Starts a recording of all operations of the process, and forgets one that was on.
pub fn start() {
    *RECORDING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Recording { start: Moment::now(), records: HashMap::new() });
    ON.store(true, Ordering::Relaxed);
}

/// Ends the recording: its records, largest time first, then `other`; their sums are those of the whole time since [`start`]. Empty if none was on.
pub fn stop() -> Vec<Record> {
    ON.store(false, Ordering::Relaxed);
    let Some(Recording { start, records }) = RECORDING.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Vec::new() };
    let whole = Record { kind: "other", calls: 1, ..start.until_now() };
    let mut records: Vec<Record> = records.into_values().collect();
    records.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let other = records.iter().fold(whole, |left, record| Record {
        seconds: left.seconds - record.seconds,
        cpu_seconds: left.cpu_seconds - record.cpu_seconds,
        faults: left.faults.saturating_sub(record.faults),
        ..left
    });
    records.push(other);
    records
}

/// An operation that runs until this is dropped; `describe` gives its shape and FLOPs and is not called while no recording is on.
pub(crate) fn op(kind: &'static str, describe: impl FnOnce() -> (String, f64)) -> Option<Op> {
    if !ON.load(Ordering::Relaxed) || INSIDE.replace(true) {
        return None;
    }
    let (shape, flops) = describe();
    Some(Op { kind, shape, flops, start: Moment::now() })
}

/// Shape and FLOPs of a matrix product.
pub(crate) fn product(rows: usize, inner: usize, columns: usize) -> (String, f64) {
    (format!("{rows} x {inner} -> {columns}"), 2.0 * (rows * inner * columns) as f64)
}

pub(crate) struct Op {
    kind: &'static str,
    shape: String,
    flops: f64,
    start: Moment,
}

impl Drop for Op {
    fn drop(&mut self) {
        INSIDE.set(false);
        let took = self.start.until_now();
        let shape = std::mem::take(&mut self.shape);
        if let Some(recording) = RECORDING.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let record =
                recording.records.entry((self.kind, shape.clone())).or_insert_with(|| Record { kind: self.kind, shape, ..Record::default() });
            record.calls += 1;
            record.seconds += took.seconds;
            record.cpu_seconds += took.cpu_seconds;
            record.flops += self.flops;
            record.faults += took.faults;
        }
    }
}

/// Clocks and counters of the process at one moment.
struct Moment {
    wall: Instant,
    cpu: f64,
    faults: u64,
}

impl Moment {
    fn now() -> Self {
        let (cpu, faults) = usage();
        Self { wall: Instant::now(), cpu, faults }
    }

    fn until_now(&self) -> Record {
        let now = Self::now();
        Record {
            seconds: (now.wall - self.wall).as_secs_f64(),
            cpu_seconds: now.cpu - self.cpu,
            faults: now.faults - self.faults,
            ..Record::default()
        }
    }
}

/// (user and system seconds, page faults) of this process.
#[cfg(unix)]
fn usage() -> (f64, u64) {
    // SAFETY: plain numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes into `usage`.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + 1e-6 * t.tv_usec as f64;
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_minflt as u64 + usage.ru_majflt as u64)
}

#[cfg(not(unix))]
fn usage() -> (f64, u64) {
    (0.0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_sum_to_the_whole_and_inner_operations_belong_to_the_outer() {
        start();
        {
            let _outer = op("outer", || ("1 x 1".into(), 2.0));
            let _inner = op("inner", || ("2 x 2".into(), 4.0));
        }
        let records = stop();
        let outer = records.iter().find(|record| record.kind == "outer");
        assert_eq!(outer.map(|record| (record.calls, record.flops)), Some((1, 2.0)));
        assert!(records.iter().all(|record| record.kind != "inner"));
        assert_eq!(records.last().map(|record| record.kind), Some("other"));
        assert!(stop().is_empty());
    }
}
