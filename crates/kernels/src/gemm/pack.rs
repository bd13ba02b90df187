//! Weights in the micro-kernel's order: `[panel][chunk][channel][column]`.

use super::bytes::Columns;
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::simd::{geometry, Simd};
use crate::weight::Numbers;
use crate::Storage;
use candle_core::{bail, DType, Result};
use half::{bf16, f16};
use std::ops::Range;

/// Channels of one set that are multiplied in one go: a slice of the image stays in L2 for all taps.
const RUN: usize = 160;
/// Channels per chunk at most: its panel stays in L2.
const CHUNK: usize = 320;

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
    offset: usize,
}

/// Columns that one kernel call multiplies.
pub(crate) struct Panel {
    /// First output column.
    pub first: usize,
    /// Output columns; a gated panel holds as many gates.
    pub cols: usize,
    pub vectors: usize,
    /// Packed columns before it.
    pub offset: usize,
}

enum Data {
    F32(Buffer<f32>),
    F16(Buffer<u16>),
    Bf16(Buffer<u16>),
    /// Four signed bytes each: channels then count quads.
    Bytes(Buffer<u32>),
}

/// What to pack, as files have it: the numbers of an output column one behind the other, by channel and within a channel by set (tap).
pub(crate) struct Matrix<'a> {
    pub numbers: Numbers<'a>,
    pub sets: usize,
    /// Channels of each set.
    pub channels: usize,
    /// Output columns.
    pub n: usize,
    /// Column `n + j` gates column j (GEGLU); a panel then holds values and their gates.
    pub gated: bool,
}

/// In which order the channels of the row sets are multiplied.
pub(crate) struct Schedule {
    pub sets: usize,
    /// Channels per slice.
    step: usize,
    pub runs: Vec<Run>,
    pub chunks: Vec<Chunk>,
}

impl Schedule {
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

/// A packed matrix.
pub(crate) struct Packed {
    pub level: Level,
    pub n: usize,
    pub k: usize,
    pub gated: bool,
    pub schedule: Schedule,
    pub panels: Vec<Panel>,
    data: Data,
    /// Of a matrix of bytes.
    pub columns_of_bytes: Option<Columns>,
}

impl Packed {
    /// Packs for a level, rounded to `storage`.
    pub fn new(level: Level, storage: Storage, matrix: &Matrix) -> Result<Self> {
        let float = match storage {
            Storage::Float(float) => float,
            Storage::Int8 => return Ok(super::bytes::pack(level, matrix)),
        };
        let &Matrix { numbers, sets, channels, n, gated } = matrix;
        let mut packed = Self::empty(level, (sets, channels), n, gated);
        let (k, rows) = (packed.k, packed.rows(|set, channel| channel * sets + set));
        packed.data = match float {
            DType::F32 => Data::F32(packed.lay(&rows, |column, at, to| numbers.to_f32(column * k + at, to))),
            DType::F16 => Data::F16(packed.lay(&rows, |column, at, to| numbers.to_f16(column * k + at, to))),
            DType::BF16 => Data::Bf16(packed.lay(&rows, |column, at, to| numbers.to_bf16(column * k + at, to))),
            other => bail!("Expected F32, F16 or BF16 for storage but received {other:?}"),
        };
        Ok(packed)
    }

    /// Packs quads of bytes, of which column j has `sets * quads` from there on, by set and within a set by channel; what belongs to the columns is missing.
    pub fn of_bytes(level: Level, (sets, quads): (usize, usize), n: usize, gated: bool, bytes: &[u32]) -> Self {
        let mut packed = Self::empty(level, (sets, quads), n, gated);
        let (k, rows) = (packed.k, packed.rows(|set, channel| set * quads + channel));
        packed.data = Data::Bytes(packed.lay(&rows, |column, at, to: &mut [u32]| to.copy_from_slice(&bytes[column * k + at..][..to.len()])));
        packed
    }

    /// Of numbers that are computed: `fill` gets the layout and the panels' memory, all zeros.
    pub fn of_values(level: Level, (sets, channels): (usize, usize), n: usize, fill: impl FnOnce(&Self, &mut [f32])) -> Self {
        let mut packed = Self::empty(level, (sets, channels), n, false);
        let mut data = Buffer::zeroed(packed.k * packed.columns());
        fill(&packed, &mut data);
        packed.data = Data::F32(data);
        packed
    }

    fn empty(level: Level, (sets, channels): (usize, usize), n: usize, gated: bool) -> Self {
        let (schedule, panels) = (cut_channels(sets, channels), cut_columns(level, n, gated));
        Self { level, n, k: sets * channels, gated, schedule, panels, data: Data::F32(Buffer::default()), columns_of_bytes: None }
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Data::F32(data) => 4 * data.len(),
            Data::F16(data) | Data::Bf16(data) => 2 * data.len(),
            Data::Bytes(data) => 4 * data.len() + 8 * self.columns(),
        }
    }

    /// Calls `f` with the packed position and the source's number of every column.
    pub fn each_column(&self, mut f: impl FnMut(usize, usize)) {
        let lanes = geometry(self.level).0;
        for panel in &self.panels {
            for i in 0..panel.cols {
                f(panel.offset + i, panel.first + i);
                if self.gated {
                    f(panel.offset + panel.vectors * lanes / 2 + i, self.n + panel.first + i);
                }
            }
        }
    }

    /// First column of a vector of a panel, and how many of its lanes are used.
    #[inline(always)]
    pub fn columns_of(&self, panel: &Panel, vector: usize, lanes: usize) -> (usize, usize) {
        let (start, vector) = match self.gated && vector >= panel.vectors / 2 {
            true => (self.n, vector - panel.vectors / 2),
            false => (0, vector),
        };
        (start + panel.first + vector * lanes, panel.cols.saturating_sub(vector * lanes).min(lanes))
    }

    /// Packed columns of all panels, their unused ones included.
    pub fn columns(&self) -> usize {
        let lanes = geometry(self.level).0;
        self.panels.iter().map(|p| p.vectors * lanes).sum()
    }

    /// Where columns `j..` of a panel are, for sets of equal width.
    #[inline(always)]
    pub fn at(&self, panel: &Panel, lanes: usize, (set, channel): (usize, usize), j: usize) -> usize {
        let Schedule { sets, step, .. } = self.schedule;
        let start = channel / step * step;
        let len = step.min(self.k / sets - start);
        let row = sets * start + set * len + channel - start;
        panel.offset * self.k + row * panel.vectors * lanes + j
    }

    /// What was packed, rounded to the storage: for other forms of the same weights.
    pub fn value(&self, set: usize, channel: usize, column: usize) -> f32 {
        let panel = self.panels.iter().rfind(|p| p.first <= column).unwrap_or(&self.panels[0]);
        let at = self.at(panel, geometry(self.level).0, (set, channel), column - panel.first);
        match &self.data {
            Data::F32(data) => data[at],
            Data::F16(data) => f16::from_bits(data[at]).to_f32(),
            Data::Bf16(data) => bf16::from_bits(data[at]).to_f32(),
            // Other forms are made of floats only.
            Data::Bytes(_) => f32::NAN,
        }
    }

    /// The same for columns `j..` of a panel.
    #[inline(always)]
    pub unsafe fn vector<S: Simd>(&self, panel: &Panel, set: usize, channel: usize, j: usize) -> S::V {
        let at = self.at(panel, S::LANES, (set, channel), j);
        match &self.data {
            Data::F32(data) => S::load(data.as_ptr().add(at)),
            Data::F16(data) => S::load_f16(data.as_ptr().add(at)),
            Data::Bf16(data) => S::load_bf16(data.as_ptr().add(at)),
            Data::Bytes(_) => S::splat(f32::NAN),
        }
    }

    /// The f32 numbers (or quads of bytes) of a chunk of a panel: in place, or widened into `wide`.
    #[inline(always)]
    pub unsafe fn chunk<S: Simd>(&self, panel: &Panel, chunk: &Chunk, wide: &mut Buffer<f32>) -> *const f32 {
        let width = panel.vectors * S::LANES;
        let at = panel.offset * self.k + chunk.offset * width;
        let len = chunk.len * width;
        match &self.data {
            Data::F32(data) => data.as_ptr().add(at),
            Data::Bytes(data) => data.as_ptr().add(at).cast(),
            Data::F16(data) => {
                let to = wide.at_least(len).as_mut_ptr();
                for i in (0..len).step_by(S::LANES) {
                    S::store(to.add(i), S::load_f16(data.as_ptr().add(at + i)));
                }
                to
            }
            Data::Bf16(data) => {
                let to = wide.at_least(len).as_mut_ptr();
                for i in (0..len).step_by(S::LANES) {
                    S::store(to.add(i), S::load_bf16(data.as_ptr().add(at + i)));
                }
                to
            }
        }
    }
}

/// Equal slices of the channels; within a slice the sets (taps) vary fastest.
fn cut_channels(sets: usize, channels: usize) -> Schedule {
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
    Schedule { sets, step, runs, chunks }
}

/// Panels as wide as the registers allow and about equal, so that no narrow one is left over.
fn cut_columns(level: Level, n: usize, gated: bool) -> Vec<Panel> {
    let (lanes, full) = geometry(level);
    let unit = if gated { full / 2 } else { full };
    let vectors = n.div_ceil(lanes);
    let count = vectors.div_ceil(unit);
    let mut panels = Vec::with_capacity(count);
    let (mut first, mut offset, mut left) = (0, 0, vectors);
    for i in 0..count {
        let taken = left.div_ceil(count - i);
        let cols = (taken * lanes).min(n - first);
        let vectors = if gated { 2 * taken } else { taken };
        panels.push(Panel { first, cols, vectors, offset });
        (first, offset, left) = (first + cols, offset + vectors * lanes, left - taken);
    }
    panels
}
