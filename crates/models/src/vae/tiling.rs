use crate::error::{ModelError, Result};
use candle_core::Tensor;

/// Overlapping tiles for images larger than memory allows. Source: diffusers autoencoder_kl.py `enable_tiling`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Side of a tile in pixels; default the config's `sample_size`.
    pub tile_sample_min_size: usize,
    /// Side of a tile in latents; default the pixels over the scale factor.
    pub tile_latent_min_size: usize,
    /// Share of a tile that overlaps the next, from 0 to below 1; default 0.25.
    pub tile_overlap_factor: f64,
}

impl Tiling {
    /// Refuses sizes that would not move forward.
    pub(super) fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.tile_overlap_factor) {
            return Err(ModelError::argument("tile_overlap_factor", "a number from 0 to below 1", self.tile_overlap_factor));
        }
        for (name, size) in [("tile_sample_min_size", self.tile_sample_min_size), ("tile_latent_min_size", self.tile_latent_min_size)] {
            if (size as f64 * (1.0 - self.tile_overlap_factor)) as usize == 0 {
                return Err(ModelError::argument(name, "a size of at least one step", size));
            }
        }
        Ok(())
    }

    /// Steps between tiles of the input, its tile size, and (overlap, kept size) of the output.
    fn geometry(&self, input: usize, output: usize) -> (usize, usize, usize) {
        let step = (input as f64 * (1.0 - self.tile_overlap_factor)) as usize;
        let blend = (output as f64 * self.tile_overlap_factor) as usize;
        (step, blend, output - blend)
    }

    pub(super) fn decode(&self, z: &Tensor, run: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        self.run(z, self.tile_latent_min_size, self.tile_sample_min_size, run)
    }

    pub(super) fn encode(&self, x: &Tensor, run: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        self.run(x, self.tile_sample_min_size, self.tile_latent_min_size, run)
    }

    /// Runs each tile of x (B, H, W, C), blends it with the tiles above and left of it, and joins what is kept.
    fn run(&self, x: &Tensor, tile: usize, output: usize, mut run: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let (step, blend, keep) = self.geometry(tile, output);
        let mut above: Vec<Tensor> = Vec::new();
        let mut rows = Vec::new();
        for top in (0..height).step_by(step) {
            let mut row: Vec<Tensor> = Vec::new();
            for (column, left) in (0..width).step_by(step).enumerate() {
                let part = x.narrow(1, top, tile.min(height - top))?.narrow(2, left, tile.min(width - left))?;
                let mut done = run(&part.contiguous()?)?;
                if let Some(above) = above.get(column) {
                    done = blend_edge(above, &done, blend, 1)?;
                }
                if let Some(before) = row.last() {
                    done = blend_edge(before, &done, blend, 2)?;
                }
                row.push(done);
            }
            let kept: Vec<Tensor> =
                row.iter().map(|t| t.narrow(1, 0, keep.min(t.dim(1)?))?.narrow(2, 0, keep.min(t.dim(2)?))).collect::<candle_core::Result<_>>()?;
            rows.push(Tensor::cat(&kept, 2)?);
            above = row;
        }
        Ok(Tensor::cat(&rows, 1)?)
    }
}

/// b with its first `extent` positions along `dim` faded in over the last ones of a. Source: diffusers autoencoder_kl.py `blend_v`, `blend_h`.
fn blend_edge(a: &Tensor, b: &Tensor, extent: usize, dim: usize) -> Result<Tensor> {
    let (length_a, length_b) = (a.dim(dim)?, b.dim(dim)?);
    let extent = extent.min(length_a).min(length_b);
    if extent == 0 {
        return Ok(b.clone());
    }
    let weights: Vec<f32> = (0..extent).map(|i| (i as f64 / extent as f64) as f32).collect();
    let mut shape = [1; 4];
    shape[dim] = extent;
    let rising = Tensor::from_vec(weights, &shape, b.device())?;
    let falling = (1.0 - &rising)?;
    let edge = (a.narrow(dim, length_a - extent, extent)?.broadcast_mul(&falling)? + b.narrow(dim, 0, extent)?.broadcast_mul(&rising)?)?;
    Ok(Tensor::cat(&[&edge, &b.narrow(dim, extent, length_b - extent)?], dim)?)
}
