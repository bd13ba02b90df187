//! In which order a product goes through the channels of its row sets. Here, and wherever rows and packed matrices are cut, a channel is a lane's worth: one, two or
//! four of the numbers, see [`Unit`](super::Unit).

use std::ops::Range;

/// Channels of one set that are multiplied in one go: a slice of the image stays in L2 for all taps.
const RUN: usize = 160;
/// Channels per chunk at most: its panel stays in L2, and sums wait in memory between chunks. 640 took 2 to 4 % less time than 320 in the UNet's linear layers.
const CHUNK: usize = 640;

/// Channels `k0..k0 + len` of a set.
#[derive(Clone)]
pub(crate) struct Run {
    pub set: usize,
    pub k0: usize,
    pub len: usize,
}

/// Runs that one kernel call multiplies, and the channels before them.
pub(crate) struct Chunk {
    pub runs: Range<usize>,
    pub len: usize,
    pub offset: usize,
}

/// In which order the channels of the row sets are multiplied.
pub(crate) struct Schedule {
    pub sets: usize,
    /// Channels per slice.
    pub step: usize,
    pub runs: Vec<Run>,
    pub chunks: Vec<Chunk>,
}

impl Schedule {
    /// Equal slices of the channels; within a slice the sets (taps) vary fastest.
    pub fn new(sets: usize, channels: usize) -> Self {
        let step = channels.max(1).div_ceil(channels.max(1).div_ceil(RUN));
        let (mut runs, mut chunks, mut offset) = (Vec::new(), Vec::<Chunk>::new(), 0);
        for k0 in (0..channels).step_by(step) {
            let len = step.min(channels - k0);
            for set in 0..sets {
                let i = runs.len();
                runs.push(Run { set, k0, len });
                match chunks.last_mut().filter(|chunk| chunk.len + len <= CHUNK) {
                    Some(chunk) => (chunk.runs.end, chunk.len) = (i + 1, chunk.len + len),
                    None => chunks.push(Chunk { runs: i..i + 1, len, offset }),
                }
                offset += len;
            }
        }
        Self { sets, step, runs, chunks }
    }

    /// The same order for channels that come from two sources: `split` from the first, whose sets are the same, the rest from the second, whose sets follow.
    pub fn split(&self, split: usize) -> Self {
        let (mut runs, mut chunks) = (Vec::new(), Vec::new());
        for chunk in &self.chunks {
            let start = runs.len();
            for run in &self.runs[chunk.runs.clone()] {
                let first = split.saturating_sub(run.k0).min(run.len);
                if first > 0 {
                    runs.push(Run { len: first, ..run.clone() });
                }
                if first < run.len {
                    runs.push(Run { set: self.sets + run.set, k0: run.k0 + first - split, len: run.len - first });
                }
            }
            chunks.push(Chunk { runs: start..runs.len(), len: chunk.len, offset: chunk.offset });
        }
        Self { sets: 2 * self.sets, step: self.step, runs, chunks }
    }
}
