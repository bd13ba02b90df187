//! Weights in the micro-kernel's order: `[panel][chunk][channel][column]`.

use super::bytes::Columns;
use super::schedule::{Chunk, Schedule};
use super::{bytes, pairs, Unit};
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::simd::{geometry, Simd};
use crate::weight::Numbers;
use crate::Storage;
use candle_core::{bail, DType, Result};
use half::{bf16, f16};

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

/// Channels of a panel whose rows lie one behind the other, in every set.
pub(crate) struct Slice {
    /// Where those of the first set begin.
    pub at: usize,
    /// Lanes from one set to the next.
    pub between: usize,
    pub channels: usize,
}

/// What a packed lane holds in memory.
pub(crate) trait Stored: Copy {
    /// The numbers of a vector of lanes; of pairs the lower ones and the upper ones.
    unsafe fn load<S: Simd>(p: *const Self) -> [S::V; 2];
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self) -> [S::V; 2] {
        [S::load(p); 2]
    }
}

/// Bits of an IEEE half.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F16(u16);

impl Stored for F16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self) -> [S::V; 2] {
        [S::load_f16(p.cast()); 2]
    }
}

/// Bits of a brain float.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

impl Stored for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self) -> [S::V; 2] {
        [S::load_bf16(p.cast()); 2]
    }
}

/// Two brain floats.
impl Stored for u32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self) -> [S::V; 2] {
        S::widen_pairs(S::load(p.cast()))
    }
}

/// Packed numbers.
pub(crate) enum Data {
    F32(Buffer<f32>),
    F16(Buffer<u16>),
    Bf16(Buffer<u16>),
    /// Two brain floats each.
    Pairs(Buffer<u32>),
    /// Four signed bytes each.
    Quads(Buffer<u32>),
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

/// A packed matrix.
pub(crate) struct Packed {
    pub level: Level,
    pub n: usize,
    /// Channels of all sets, in lanes.
    pub k: usize,
    pub gated: bool,
    pub schedule: Schedule,
    pub panels: Vec<Panel>,
    pub data: Data,
    /// Of a matrix of bytes.
    pub columns_of_bytes: Option<Columns>,
}

impl Packed {
    /// Packs for a level, rounded to `storage`.
    pub fn new(level: Level, storage: Storage, matrix: &Matrix) -> Result<Self> {
        let float = match storage {
            Storage::Int8 | Storage::Fast => return Ok(bytes::pack(level, matrix)),
            Storage::Float(DType::BF16) if crate::cpu::multiplies_bf16() => return Ok(pairs::pack(level, matrix)),
            Storage::Float(float) => float,
        };
        let &Matrix { numbers, sets, channels, n, gated } = matrix;
        let mut packed = Self::empty(level, (sets, channels), n, gated);
        let rows = packed.rows(|set, channel| channel * sets + set);
        packed.data = match float {
            DType::F32 => Data::F32(packed.lay(&rows, |part, to| numbers.part_f32(part, to))),
            DType::F16 => Data::F16(packed.lay(&rows, |part, to| numbers.part_f16(part, to))),
            DType::BF16 => Data::Bf16(packed.lay(&rows, |part, to| numbers.part_bf16(part, to))),
            other => bail!("Expected F32, F16 or BF16 for storage but received {other:?}"),
        };
        Ok(packed)
    }

    /// Of lanes that are computed: `fill` gets the layout and the panels' memory, all zeros.
    pub fn of_lanes(level: Level, unit: Unit, (sets, channels): (usize, usize), n: usize, fill: impl FnOnce(&Self, *mut f32)) -> Self {
        let mut packed = Self::empty(level, (sets, channels), n, false);
        let len = packed.k * packed.columns();
        packed.data = match unit {
            Unit::Float => {
                let mut data = Buffer::zeroed(len);
                fill(&packed, data.as_mut_ptr());
                Data::F32(data)
            }
            Unit::Pair | Unit::Quad => {
                let mut data = Buffer::<u32>::zeroed(len);
                fill(&packed, data.as_mut_ptr().cast());
                Data::Pairs(data)
            }
        };
        packed
    }

    /// What a lane holds.
    pub fn unit(&self) -> Unit {
        match self.data {
            Data::F32(_) | Data::F16(_) | Data::Bf16(_) => Unit::Float,
            Data::Pairs(_) => Unit::Pair,
            Data::Quads(_) => Unit::Quad,
        }
    }

    pub(super) fn empty(level: Level, (sets, channels): (usize, usize), n: usize, gated: bool) -> Self {
        let (schedule, panels) = (Schedule::new(sets, channels), cut_columns(level, n, gated));
        Self { level, n, k: sets * channels, gated, schedule, panels, data: Data::F32(Buffer::default()), columns_of_bytes: None }
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Data::F32(data) => 4 * data.len(),
            Data::F16(data) | Data::Bf16(data) => 2 * data.len(),
            Data::Pairs(data) => 4 * data.len(),
            Data::Quads(data) => 4 * data.len() + 8 * self.columns(),
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
        self.columns_in(&(0..self.panels.len()))
    }

    /// The same of some panels.
    pub fn columns_in(&self, panels: &std::ops::Range<usize>) -> usize {
        let lanes = geometry(self.level).0;
        self.panels[panels.clone()].iter().map(|p| p.vectors * lanes).sum()
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
        let (row, within) = (channel / self.unit().numbers(), channel % self.unit().numbers());
        let at = self.at(panel, geometry(self.level).0, (set, row), column - panel.first);
        match &self.data {
            Data::F32(data) => data[at],
            Data::F16(data) => f16::from_bits(data[at]).to_f32(),
            Data::Bf16(data) => bf16::from_bits(data[at]).to_f32(),
            Data::Pairs(data) => bf16::from_bits((data[at] >> (16 * within)) as u16).to_f32(),
            // What reads number by number is made of floats only.
            Data::Quads(_) => f32::NAN,
        }
    }

    /// The same for columns `j..` of a panel.
    #[inline(always)]
    pub unsafe fn vector<S: Simd>(&self, panel: &Panel, set: usize, channel: usize, j: usize) -> S::V {
        let (row, within) = (channel / self.unit().numbers(), channel % self.unit().numbers());
        let at = self.at(panel, S::LANES, (set, row), j);
        if let (Data::Quads(data), Some(columns)) = (&self.data, &self.columns_of_bytes) {
            let bytes = S::load(data.as_ptr().add(at).cast());
            return S::mul(S::widen_byte(bytes, within), S::load(columns.scales.as_ptr().add(panel.offset + j)));
        }
        match &self.data {
            Data::F32(data) => f32::load::<S>(data.as_ptr().add(at))[0],
            Data::F16(data) => F16::load::<S>(data.as_ptr().cast::<F16>().add(at))[0],
            Data::Bf16(data) => Bf16::load::<S>(data.as_ptr().cast::<Bf16>().add(at))[0],
            Data::Pairs(data) => u32::load::<S>(data.as_ptr().add(at))[within],
            // Other forms are made of floats only.
            Data::Quads(_) => S::splat(f32::NAN),
        }
    }

    /// As many of these channels (in lanes) as have their rows one behind the other.
    #[inline(always)]
    pub fn slice(&self, panel: &Panel, lanes: usize, channels: &std::ops::Range<usize>) -> Slice {
        let (step, all) = (self.schedule.step, self.k / self.schedule.sets);
        let start = channels.start / step * step;
        Slice {
            at: self.at(panel, lanes, (0, channels.start), 0),
            between: step.min(all - start) * panel.vectors * lanes,
            channels: channels.end.min(start + step) - channels.start,
        }
    }

    /// Bytes of a packed lane, and where the first is.
    pub fn memory(&self) -> (*const u8, usize) {
        match &self.data {
            Data::F32(data) => (data.as_ptr().cast(), 4),
            Data::F16(data) | Data::Bf16(data) => (data.as_ptr().cast(), 2),
            Data::Pairs(data) | Data::Quads(data) => (data.as_ptr().cast(), 4),
        }
    }

    /// The f32 numbers (or lanes of smaller ones) of a chunk of a panel: in place, or widened into `wide`.
    #[inline(always)]
    pub unsafe fn chunk<S: Simd>(&self, panel: &Panel, chunk: &Chunk, wide: &mut Buffer<f32>) -> *const f32 {
        let width = panel.vectors * S::LANES;
        let at = panel.offset * self.k + chunk.offset * width;
        let len = chunk.len * width;
        match &self.data {
            Data::F32(data) => data.as_ptr().add(at),
            Data::Pairs(data) | Data::Quads(data) => data.as_ptr().add(at).cast(),
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
