use super::group::{Algorithm, Group, LoraFile};
use super::index::Module;
use super::key::Part;
use super::rotation::Rotation;
use crate::error::Result;
use candle_core::{Device, Tensor};

/// The change that a group makes to a weight seen as (out, n), at weight 1.
pub(super) enum Change {
    /// `up @ down`, scaled: (out, rank), (rank, n).
    Product { up: Tensor, down: Tensor },
    /// (out, n).
    Dense(Tensor),
    /// Times the weight itself: (out, 1) or (1, n).
    Factor(Tensor),
    /// A product of the weight, for each tap of a convolution, with a matrix (in, in), and what is added to it (out, n).
    Mixed { inputs: Tensor, added: Tensor },
    /// Output channels turned.
    Rotation(Rotation),
}

impl Change {
    /// The change of a weight (out, n) as a matrix.
    pub fn dense(&self, weight: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Product { up, down } => up.matmul(down)?,
            Self::Dense(delta) => delta.clone(),
            Self::Factor(factor) => weight.broadcast_mul(factor)?,
            Self::Mixed { inputs, added } => (mixed(weight, inputs)? + added)?,
            Self::Rotation(rotation) => rotation.change(weight, 1.0)?,
        })
    }
}

/// The change of the weight; `None` for a group that changes the bias only. Sources: LyCORIS functional/{locon,loha,lokr,ia3}.py, modules/glora.py; arXiv:2106.09685,
/// arXiv:2108.06098, arXiv:2212.10650, arXiv:2205.05638.
pub(super) fn change(file: &LoraFile, group: &Group, module: &Module, device: &Device) -> Result<Option<Change>> {
    let out = module.shape.first().copied().unwrap_or(0);
    let wide: usize = module.shape.iter().skip(1).product();
    let need = |part| file.need(group, part, device);
    let scale = file.scale(group)?;
    let dense = |delta: Tensor| Ok::<_, crate::error::ModelError>(Change::Dense((delta.reshape((out, wide))? * scale)?));
    Ok(Some(match group.algorithm {
        Algorithm::Lora | Algorithm::LoCon => {
            let (up, down) = (need(Part::Up)?, need(Part::Down)?);
            match file.read(group, Part::Mid, device)? {
                None => {
                    let (up, down) = (rows(&up)?, rows(&down)?);
                    Change::Product { up: (up * scale)?, down }
                }
                Some(mid) => dense(tucker(&mid, &rows(&up)?.t()?, &rows(&down)?)?)?,
            }
        }
        Algorithm::LoHa => {
            let half = |t, a, b| pair(file.read(group, t, device)?, &need(a)?, &need(b)?);
            let first = half(Part::HadaT1, Part::HadaW1A, Part::HadaW1B)?;
            dense((first * half(Part::HadaT2, Part::HadaW2A, Part::HadaW2B)?)?)?
        }
        Algorithm::LoKr => {
            let first = match file.read(group, Part::LokrW1, device)? {
                Some(first) => rows(&first)?,
                None => need(Part::LokrW1A)?.matmul(&need(Part::LokrW1B)?)?,
            };
            let second = match file.read(group, Part::LokrW2, device)? {
                Some(second) => second,
                None => pair(file.read(group, Part::LokrT2, device)?, &need(Part::LokrW2A)?, &need(Part::LokrW2B)?)?,
            };
            let taps: usize = module.shape.iter().skip(2).product();
            dense(kronecker(&first, &second, taps)?)?
        }
        Algorithm::Full => match file.read(group, Part::Diff, device)? {
            Some(delta) => dense(delta)?,
            None => return Ok(None),
        },
        Algorithm::Ia3 => Change::Factor(ia3(file, group, module, device)?),
        Algorithm::GLora => {
            let parts = [Part::GloraA1, Part::GloraA2, Part::GloraB1, Part::GloraB2].map(|part| need(part).and_then(|tensor| rows(&tensor)));
            let [a1, a2, b1, b2] = parts;
            let (a1, a2, b1, b2) = (a1?, a2?, b1?, b2?);
            let (inputs, added) = match (file.is_old_glora(group), file.read(group, Part::GloraBm, device)?) {
                (true, _) => (a2.matmul(&a1)?, b2.matmul(&b1)?),
                (false, None) => (a1.matmul(&a2)?, b1.matmul(&b2)?),
                (false, Some(core)) => (a1.matmul(&a2)?, tucker(&core, &b1.t()?, &b2)?.reshape((out, wide))?),
            };
            Change::Mixed { inputs: (inputs * scale)?, added: (added * scale)? }
        }
        Algorithm::Oft | Algorithm::Boft => Change::Rotation(Rotation::read(file, group, out, device)?),
    }))
}

/// `W @ inputs` for each tap of a weight (out, in * taps).
fn mixed(weight: &Tensor, inputs: &Tensor) -> Result<Tensor> {
    let ((out, wide), width) = (weight.dims2()?, inputs.dim(0)?);
    if wide == width {
        return Ok(weight.matmul(inputs)?);
    }
    let by_tap = weight.reshape((out, width, wide / width.max(1)))?.transpose(1, 2)?.contiguous()?.reshape(((), width))?;
    Ok(by_tap.matmul(inputs)?.reshape((out, wide / width.max(1), width))?.transpose(1, 2)?.contiguous()?.reshape((out, wide))?)
}

/// The first dimension against all others.
fn rows(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.reshape((tensor.dim(0)?, ()))?)
}

/// `a @ b`, or the core of a convolution between them.
fn pair(core: Option<Tensor>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match core {
        Some(core) => tucker(&core, &rows(a)?, &rows(b)?),
        None => Ok(rows(a)?.matmul(&rows(b)?)?),
    }
}

/// Core (i, j, kh, kw), wa (i, out), wb (j, in) -> (out, in, kh, kw): `einsum("ijkl,jr,ip->prkl")`.
fn tucker(core: &Tensor, wa: &Tensor, wb: &Tensor) -> Result<Tensor> {
    let (i, j, height, width) = core.dims4()?;
    let (out, inputs) = (wa.dim(1)?, wb.dim(1)?);
    let left = wa.t()?.contiguous()?.matmul(&core.reshape((i, j * height * width))?)?;
    let left = left.reshape((out, j, height * width))?.transpose(1, 2)?.contiguous()?.reshape((out * height * width, j))?;
    let both = left.matmul(&wb.contiguous()?)?.reshape((out, height * width, inputs))?;
    Ok(both.transpose(1, 2)?.contiguous()?.reshape((out, inputs, height, width))?)
}

/// first (a, b) and second (c, d, ..) with `taps` values in its last dimensions -> (a * c, b * d * taps).
fn kronecker(first: &Tensor, second: &Tensor, taps: usize) -> Result<Tensor> {
    let (a, b) = first.dims2()?;
    let c = second.dim(0)?;
    let second = second.reshape((1, c, 1, (), taps))?;
    let d = second.dim(3)?;
    let product = first.reshape((a, 1, b, 1, 1))?.broadcast_mul(&second)?;
    Ok(product.reshape((a * c, b * d * taps))?)
}

/// One factor less 1 for each channel, over the weight seen as (out, n).
fn ia3(file: &LoraFile, group: &Group, module: &Module, device: &Device) -> Result<Tensor> {
    let out = module.shape.first().copied().unwrap_or(0);
    let taps: usize = module.shape.iter().skip(2).product();
    let (values, on_input) = match file.read(group, Part::Ia3, device)? {
        Some(values) => (values, file.number(group, Part::Ia3OnInput)?.unwrap_or(0.0) != 0.0),
        None => {
            let factor = file.need(group, Part::Ia3Factor, device)?;
            // PEFT's shapes tell the side: (out, 1) or (1, in).
            let on_input = factor.dims().first() == Some(&1) && factor.elem_count() > 1;
            ((factor - 1.0)?, on_input)
        }
    };
    let count = values.elem_count();
    if on_input || count != out {
        let spread = values.reshape((count, 1))?.broadcast_as((count, taps))?.contiguous()?;
        return Ok(spread.reshape((1, count * taps))?);
    }
    Ok(values.reshape((count, 1))?)
}
