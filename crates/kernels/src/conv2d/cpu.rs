//! Convolution as implicit GEMM: one row set per tap, whose pointers lead to the pixels in place. Padding points at a row of zeros; stride, resizing and
//! concatenation are only other pointers.

use super::pixels::{Grid, Pixels};
use super::winograd::{choose, InPairs, Kind, Tile, Winograd, F2, F4, F6};
use super::{in_pairs, narrow, upsample, Conv2dConfig};
use crate::buffer::{dense, output, to_vec, Buffer, View};
use crate::cpu::Level;
use crate::gemm::{gemm_by, rounded, zero_quad, Finish, Matrix, Packed, Unit};
use crate::{Epilogue, Storage, Weight};
use candle_core::{Result, Tensor};
use std::sync::OnceLock;

/// Transformed weights of more bytes are made for each call, panels after panels, and not kept: they take several times the memory of the weights.
const LARGE: usize = 4 << 20;

/// A packed kernel with its bias.
pub(super) struct Body {
    pub packed: Packed,
    pub bias: Option<Vec<f32>>,
    /// What padding reads.
    pub zeros: Buffer<f32>,
    /// The same where the pixels are bytes.
    zero_quads: Buffer<f32>,
    /// Whether large images may take products of bf16 although the weights are bytes.
    pub fast: bool,
    /// (out, in, kernel height, kernel width).
    pub shape: (usize, usize, usize, usize),
    pub config: Conv2dConfig,
    derived: Derived,
}

/// Other forms of the weights, each made by the first call that it serves.
#[derive(Default)]
struct Derived {
    narrow: OnceLock<narrow::Narrow>,
    phases: OnceLock<upsample::Phases>,
    f2: OnceLock<Winograd<F2>>,
    f2_in_pairs: OnceLock<Winograd<InPairs<F2>>>,
    f4: OnceLock<Winograd<F4>>,
    f4_in_pairs: OnceLock<Winograd<InPairs<F4>>>,
    /// Of bytes, the same convolution of brain floats.
    in_pairs: OnceLock<Box<Body>>,
    f6: OnceLock<Winograd<F6>>,
}

/// What a call works on.
pub(super) struct Call<'a> {
    pub sources: &'a [(&'a [f32], usize)],
    /// One per output pixel, where the sources are bytes.
    pub scales: *const f32,
    pub grid: Grid,
    pub per_sample: Option<&'a [f32]>,
    pub residual: Option<&'a [f32]>,
    pub activation: Option<crate::Activation>,
    pub scale: f32,
}

impl Body {
    /// From (out, in, kh, kw).
    pub fn new(level: Level, weight: Weight, bias: Option<&Tensor>, config: Conv2dConfig, storage: Storage) -> Result<Self> {
        let dims = weight.dims();
        let shape @ (n, channels, kh, kw) = (dims[0], dims[1], dims[2], dims[3]);
        let packed = weight.read(|numbers| Packed::new(level, storage, &Matrix { numbers, sets: kh * kw, channels, n, gated: false }))?;
        let zeros = Buffer::zeroed(channels);
        let mut zero_quads = Buffer::zeroed(if packed.unit() == Unit::Quad { channels.div_ceil(Unit::Quad.numbers()) } else { 0 });
        zero_quads.fill(zero_quad(packed.level));
        let fast = storage == Storage::Fast && crate::cpu::multiplies_bf16();
        Ok(Self { packed, bias: bias.map(to_vec).transpose()?, zeros, zero_quads, fast, shape, config, derived: Derived::default() })
    }

    /// Inputs (B, H, W, C_i) -> `shape` (B, H', W', out), in x's dtype.
    pub fn forward(&self, inputs: &[&Tensor], resize: Option<(usize, usize)>, shape: [usize; 4], epilogue: &Epilogue) -> Result<Tensor> {
        let dtype = inputs[0].dtype();
        let inputs = inputs.iter().map(|x| dense(x)).collect::<Result<Vec<_>>>()?;
        let views: Vec<View> = inputs.iter().map(View::new).collect();
        let mut sources = Vec::with_capacity(2);
        for (view, x) in views.iter().zip(&inputs) {
            sources.push((view.slice()?, x.dims()[3]));
        }
        let per_sample = epilogue.per_sample.map(dense).transpose()?;
        let residual = epilogue.residual.map(dense).transpose()?;
        let (per_sample, residual) = (per_sample.as_ref().map(View::new), residual.as_ref().map(View::new));
        let (_, height, width, _) = inputs[0].dims4()?;
        let call = Call {
            sources: &sources,
            scales: std::ptr::null(),
            grid: Grid { input: (height, width), resize, output: (shape[1], shape[2]), batch: shape[0] },
            per_sample: per_sample.as_ref().map(View::slice).transpose()?,
            residual: residual.as_ref().map(View::slice).transpose()?,
            activation: epilogue.activation,
            scale: epilogue.scale,
        };
        if crate::dry::is_on() {
            self.note_need(&call);
        }
        // SAFETY: every body writes every pixel and channel.
        unsafe {
            output(shape.as_slice(), |out| {
                let (finish, derived) = (self.finish(&call, out), &self.derived);
                match choose(self, &call) {
                    Some(Kind::F2InPairs) => self.winograd(&derived.f2_in_pairs, &call, &finish),
                    Some(Kind::F2) => self.winograd(&derived.f2, &call, &finish),
                    Some(Kind::F4) => self.winograd(&derived.f4, &call, &finish),
                    Some(Kind::F4InPairs) => {
                        with(&derived.in_pairs, || Box::new(self.in_pairs()), |body| body.winograd(&derived.f4_in_pairs, &call, &finish))
                    }
                    Some(Kind::F6) => self.winograd(&derived.f6, &call, &finish),
                    None if narrow::fits(self, &call) => with(&derived.narrow, || narrow::Narrow::new(self), |n| n.run(self, &call, &finish)),
                    None => self.products(&call, &finish),
                }
            })
        }?
        .to_dtype(dtype)
    }

    /// The same convolution with the brain floats that its bytes stand for.
    fn in_pairs(&self) -> Self {
        let Self { shape, config, .. } = *self;
        let (zeros, zero_quads) = (Buffer::zeroed(shape.1), Buffer::default());
        Self { packed: in_pairs::pack(self), bias: None, zeros, zero_quads, fast: false, shape, config, derived: Derived::default() }
    }

    /// Tells a dry run which form of the weights this call would make, and how large its tiles are.
    fn note_need(&self, call: &Call) {
        let Derived { narrow, phases, f2, f2_in_pairs, f4, f4_in_pairs, in_pairs, f6 } = &self.derived;
        let kept = |bytes: usize, is_made: bool| if is_made { 0 } else { bytes };
        let (kept, scratch) = match choose(self, call) {
            Some(Kind::F2InPairs) => self.winograd_need(f2_in_pairs, call),
            Some(Kind::F2) => self.winograd_need(f2, call),
            Some(Kind::F4) => self.winograd_need(f4, call),
            Some(Kind::F4InPairs) => {
                let (weights, scratch) = self.winograd_need(f4_in_pairs, call);
                (weights + kept(in_pairs::size(self), in_pairs.get().is_some()), scratch)
            }
            Some(Kind::F6) => self.winograd_need(f6, call),
            None if narrow::fits(self, call) => (kept(4 * self.packed.k * self.packed.columns(), narrow.get().is_some()), 0),
            // Four convolutions of two by two taps.
            None if upsample::fits(self, call) => {
                (kept(4 * 16 * self.packed.k / 9 * self.packed.columns(), phases.get().is_some()), self.rounded_bytes(call))
            }
            None => (0, self.rounded_bytes(call)),
        };
        crate::dry::note(kept, scratch);
    }

    fn winograd<T: Tile>(&self, cell: &OnceLock<Winograd<T>>, call: &Call, finish: &Finish) {
        if Winograd::<T>::size(self) > LARGE {
            Winograd::<T>::once(self, call, finish)
        } else {
            with(cell, || Winograd::new(self), |w| w.run(self, call, finish))
        }
    }

    /// What it would keep, and need on the side.
    fn winograd_need<T: Tile>(&self, cell: &OnceLock<Winograd<T>>, call: &Call) -> (usize, usize) {
        let (weights, tiles) = (Winograd::<T>::size(self), Winograd::<T>::scratch(self, call));
        match cell.get() {
            Some(_) => (0, tiles),
            None if weights > LARGE && Winograd::<T>::is_small(call) => (0, tiles),
            None if weights > LARGE => (0, Winograd::<T>::size_of_group(self) + tiles),
            None => (weights, tiles),
        }
    }

    /// Memory of the inputs in the numbers that are multiplied.
    fn rounded_bytes(&self, call: &Call) -> usize {
        match self.packed.unit() {
            Unit::Float => 0,
            unit => call.sources.iter().map(|(data, _)| 4 * data.len() / unit.numbers()).sum(),
        }
    }

    /// Products of the pixels themselves, rounded once if need be.
    fn products(&self, call: &Call, finish: &Finish) {
        let (batch, (height, width)) = (call.grid.batch, call.grid.output);
        rounded(&self.packed, call.sources, batch, batch * height * width, |sources, scales| {
            let call = Call { sources, scales, ..*call };
            if upsample::fits(self, &call) {
                with(&self.derived.phases, || upsample::Phases::new(self), |phases| phases.run(self, &call, finish))
            } else {
                self.direct(&call, finish)
            }
        })
    }

    fn direct(&self, call: &Call, finish: &Finish) {
        let (_, _, kh, kw) = self.shape;
        let zeros = if self.packed.unit() == Unit::Quad { &self.zero_quads } else { &self.zeros };
        let pixels = Pixels::new(call.sources, &call.grid, (kh, kw), self.config, zeros).scaled(call.scales);
        let (height, width) = call.grid.output;
        let rows = call.grid.batch * height * width;
        match call.sources {
            [_] => gemm_by(&pixels, rows, &self.packed, &self.packed.schedule, finish),
            [(_, first), ..] => gemm_by(&pixels, rows, &self.packed, &self.packed.schedule.split(*first), finish),
            [] => {}
        }
    }

    fn finish<'a>(&'a self, call: &Call<'a>, out: crate::simd::Shared<f32>) -> Finish<'a> {
        Finish {
            out,
            n: self.packed.n,
            bias: self.bias.as_deref(),
            per_sample: call.per_sample.map(|values| (values, call.grid.output.0 * call.grid.output.1)),
            activation: call.activation,
            scale: call.scale,
            residual: call.residual,
            phase: None,
            streamed: false,
        }
    }

    /// Memory held by the weights, derived forms included.
    pub fn bytes(&self) -> usize {
        let Derived { narrow, phases, f2, f2_in_pairs, f4, f4_in_pairs, in_pairs, f6 } = &self.derived;
        let winograd = [
            f2.get().map(Winograd::bytes),
            f2_in_pairs.get().map(Winograd::bytes),
            f4.get().map(Winograd::bytes),
            f4_in_pairs.get().map(Winograd::bytes),
            f6.get().map(Winograd::bytes),
        ];
        let floats = in_pairs.get().map_or(0, |body| body.bytes());
        let small = narrow.get().map_or(0, narrow::Narrow::bytes);
        self.packed.bytes() + floats + small + phases.get().map_or(0, upsample::Phases::bytes) + winograd.into_iter().flatten().sum::<usize>()
    }
}

/// Uses the value of the cell, made if need be. Not `get_or_init`: making it waits for the pool, and whoever waits may be handed a call of the same convolution.
fn with<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T, f: impl FnOnce(&T)) {
    match cell.get() {
        Some(value) => f(value),
        None => {
            let value = make();
            f(&value);
            // Another call may have been faster; both are the same.
            let _ = cell.set(value);
        }
    }
}
