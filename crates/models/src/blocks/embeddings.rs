use crate::error::Result;
use crate::load::{Bias, Builder};
use candle_core::{Device, Tensor};
use nd_kernels::{activation, Activation, Epilogue, Linear};

/// Period of the slowest sinusoid. Source: diffusers embeddings.py `get_timestep_embedding`, `max_period`.
const MAX_PERIOD: f64 = 10000.0;

/// Sinusoids of numbers such as timesteps and image sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sinusoids {
    pub width: usize,
    /// Cosines first.
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
}

impl Sinusoids {
    /// values (n) -> (n, width), in f32 as PyTorch computes it. Source: diffusers embeddings.py `get_timestep_embedding`.
    pub fn forward(&self, values: &[f64], device: &Device) -> Result<Tensor> {
        let half = self.width / 2;
        let factor = -(MAX_PERIOD.ln()) as f32;
        let divisor = (half as f64 - self.freq_shift) as f32;
        let frequencies: Vec<f32> = (0..half).map(|i| (factor * i as f32 / divisor).exp()).collect();
        let mut rows = Vec::with_capacity(values.len() * self.width);
        for &value in values {
            let angles = frequencies.iter().map(|f| value as f32 * f);
            let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
            let (first, second) = if self.flip_sin_to_cos { (cosines, sines) } else { (sines, cosines) };
            rows.extend(first.into_iter().chain(second));
            rows.resize(rows.len() + self.width % 2, 0.0);
        }
        Ok(Tensor::from_vec(rows, (values.len(), self.width), device)?)
    }
}

/// Two linear layers with an activation between them. Source: diffusers embeddings.py `TimestepEmbedding`.
pub(crate) struct TimestepEmbedding {
    linear_1: Linear,
    cond_proj: Option<Linear>,
    linear_2: Linear,
    activation: Activation,
    post_activation: Option<Activation>,
}

impl TimestepEmbedding {
    pub fn new(b: &Builder, inputs: usize, width: usize, activation: Activation) -> Result<Self> {
        let (linear_1, linear_2) = (b.linear("linear_1", inputs, width, Bias::Yes)?, b.linear("linear_2", width, width, Bias::Yes)?);
        Ok(Self { linear_1, cond_proj: None, linear_2, activation, post_activation: None })
    }

    /// With a projection of `timestep_cond` (`time_cond_proj_dim`) and an activation at the end (`timestep_post_act`).
    pub fn with(self, b: &Builder, inputs: usize, cond: Option<usize>, post: Option<Activation>) -> Result<Self> {
        let cond_proj = cond.map(|width| b.linear("cond_proj", width, inputs, Bias::No)).transpose()?;
        Ok(Self { cond_proj, post_activation: post, ..self })
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.linear_1.in_features()
    }

    /// sample (B, inputs), condition (B, cond) -> (B, width).
    pub fn forward(&self, sample: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let sample = match (condition, &self.cond_proj) {
            (Some(condition), Some(projection)) => projection.forward_with(condition, &Epilogue { residual: Some(sample), ..Default::default() })?,
            _ => sample.clone(),
        };
        let hidden = self.linear_1.forward_with(&sample, &Epilogue { activation: Some(self.activation), ..Default::default() })?;
        let out = self.linear_2.forward(&hidden)?;
        match self.post_activation {
            Some(post) => Ok(activation(&out, post)?),
            None => Ok(out),
        }
    }
}
