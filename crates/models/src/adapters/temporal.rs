use crate::blocks::attention::{Attention, AttentionShape};
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use candle_core::{DType, Tensor};
use nd_kernels::{Epilogue, Geglu, GroupNorm, LayerNorm, Linear};

#[derive(Clone, Copy)]
pub(super) struct TemporalShape {
    pub channels: usize,
    pub heads: usize,
    pub layers: usize,
    pub groups: usize,
    pub max_frames: usize,
}

/// Windows in which long videos attend (FreeNoise): each frame's results are averaged over the windows that it lies in.
#[derive(Clone, Debug)]
pub struct FrameWindows {
    /// Distance between the starts of two windows, at least 1.
    pub stride: usize,
    /// Weight of each frame of a window; as many as a window has frames.
    pub weights: Vec<f32>,
}

impl FrameWindows {
    /// Where windows lie in a video of `frames`, and how many of the last frames of each count.
    /// Source: diffusers attention.py `FreeNoiseTransformerBlock._get_frame_indices`.
    fn places(&self, frames: usize) -> Vec<(usize, usize)> {
        let length = self.weights.len();
        let mut places: Vec<(usize, usize)> = (0..=frames - length).step_by(self.stride).map(|start| (start, length)).collect();
        let end = places.last().map_or(0, |(start, length)| start + length);
        if end < frames {
            places.push((frames - length, frames - end));
        }
        places
    }

    /// The weighted mean over the windows of `work`, which maps (B, window, C) to the same shape.
    fn average(&self, x: &Tensor, work: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (frames, length) = (x.dim(1)?, self.weights.len());
        let weights = Tensor::from_slice(&self.weights, (1, length, 1), x.device())?;
        let mut sum = x.zeros_like()?;
        let mut counts = Tensor::zeros((1, frames, 1), DType::F32, x.device())?;
        for (start, kept) in self.places(frames) {
            let done = work(&x.narrow(1, start, length)?.contiguous()?)?;
            let (first, skip) = (start + length - kept, length - kept);
            // Of a last window that is moved back, the reference counts the weight of its first kept frame for all.
            let shares = weights.narrow(1, skip, kept)?;
            let counted = if kept < length { weights.narrow(1, skip, 1)?.broadcast_as((1, kept, 1))? } else { shares.clone() };
            let around = |t: &Tensor| -> Result<Tensor> { Ok(t.pad_with_zeros(1, first, frames - first - kept)?) };
            sum = (sum + around(&done.narrow(1, skip, kept)?.broadcast_mul(&shares)?)?)?;
            counts = (counts + around(&counted.contiguous()?)?)?;
        }
        Ok(sum.broadcast_div(&counts)?)
    }
}

/// A transformer over the frames at each position. Source: diffusers unet_motion_model.py `AnimateDiffTransformer3D`.
pub(super) struct TemporalTransformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<TemporalBlock>,
    proj_out: Linear,
}

struct TemporalBlock {
    positions: Tensor,
    norms: [LayerNorm; 3],
    attn1: Attention,
    attn2: Attention,
    ff_in: Geglu,
    ff_out: Linear,
}

impl TemporalBlock {
    fn new(b: &Builder, shape: TemporalShape) -> Result<Self> {
        let b = &b.in_bytes();
        let width = shape.channels;
        let attention =
            AttentionShape { query_width: width, context_width: width, heads: shape.heads, head_width: width / shape.heads, bias: Bias::No };
        let norm = |name| b.layer_norm(name, width, 1e-5);
        Ok(Self {
            positions: b.tensor_f32("pos_embed.pe", &[1, shape.max_frames, width])?,
            norms: [norm("norm1")?, norm("norm2")?, norm("norm3")?],
            attn1: Attention::self_attention(&b.pp("attn1"), attention)?,
            attn2: Attention::self_attention(&b.pp("attn2"), attention)?,
            ff_in: b.geglu("ff.net.0.proj", width, 4 * width)?,
            ff_out: b.linear("ff.net.2", 4 * width, width, Bias::Yes)?,
        })
    }

    /// x (B H W, F, C).
    fn forward(&self, x: &Tensor, windows: Option<&FrameWindows>) -> Result<Tensor> {
        let x = match windows {
            Some(windows) => windows.average(x, |part| self.attend(part))?,
            None => self.attend(x)?,
        };
        let gated = self.ff_in.forward(&self.norms[2].forward(&x)?)?;
        Ok(self.ff_out.forward_with(&gated, &Epilogue { residual: Some(&x), ..Default::default() })?)
    }
}

impl TemporalBlock {
    /// Both attentions among the frames of x (B H W, F, C).
    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let positions = self.positions.narrow(1, 0, x.dim(1)?)?;
        let placed = |norm: &LayerNorm, x: &Tensor| norm.forward(x)?.broadcast_add(&positions);
        let x = self.attn1.forward_self(&placed(&self.norms[0], x)?, x)?;
        self.attn2.forward_self(&placed(&self.norms[1], &x)?, &x)
    }
}

impl TemporalTransformer {
    pub fn new(b: &Builder, shape: TemporalShape) -> Result<Self> {
        let TemporalShape { channels, heads, layers, groups, .. } = shape;
        if !channels.is_multiple_of(heads) {
            return Err(ModelError::config("motion_num_attention_heads", format!("a divisor of {channels}"), heads));
        }
        let block = |i| TemporalBlock::new(&b.pp(format!("transformer_blocks.{i}")), shape);
        Ok(Self {
            norm: b.group_norm("norm", channels, groups, 1e-6)?,
            proj_in: b.linear("proj_in", channels, channels, Bias::Yes)?,
            blocks: (0..layers).map(block).collect::<Result<_>>()?,
            proj_out: b.linear("proj_out", channels, channels, Bias::Yes)?,
        })
    }

    /// x (B F, H, W, C) -> the same shape.
    pub fn forward(&self, x: &Tensor, frames: usize, windows: Option<&FrameWindows>) -> Result<Tensor> {
        let (all, height, width, channels) = x.dims4()?;
        let batch = all / frames;
        let normed = self.norm.forward(&x.reshape((batch, frames * height, width, channels))?, None)?;
        let by_position = normed.reshape((batch, frames, height * width, channels))?.transpose(1, 2)?.contiguous()?;
        let mut tokens = self.proj_in.forward(&by_position.reshape((batch * height * width, frames, channels))?)?;
        for block in &self.blocks {
            tokens = block.forward(&tokens, windows)?;
        }
        let out = self.proj_out.forward(&tokens)?.reshape((batch, height * width, frames, channels))?;
        Ok((out.transpose(1, 2)?.contiguous()?.reshape((all, height, width, channels))? + x)?)
    }
}
