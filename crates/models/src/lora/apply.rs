use super::delta::{change, Change};
use super::dora::{decomposed, DoraKind};
use super::group::{Algorithm, LoraFile};
use super::index::Module;
use super::key::Part;
use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use nd_kernels::{LowRank, Weight};
use std::sync::Arc;

/// One adapter's change of one layer.
pub(super) struct Patch {
    pub file: Arc<LoraFile>,
    /// Position of the group in the file.
    pub group: usize,
    pub module: Module,
    /// The user's weight; never 0.
    pub strength: f64,
}

impl Patch {
    /// Whether the change is a product of two matrices and nothing else.
    fn is_product(&self) -> bool {
        let group = &self.file.groups[self.group];
        matches!(group.algorithm, Algorithm::Lora | Algorithm::LoCon) && !group.parts.contains_key(&Part::Mid) && !LoraFile::is_dora(group)
    }

    fn product(&self) -> Result<Option<LowRank>> {
        match change(&self.file, &self.file.groups[self.group], &self.module, &Device::Cpu)? {
            Some(Change::Product { up, down }) => Ok(Some(LowRank::new(&up, &down, self.strength as f32)?)),
            _ => Ok(None),
        }
    }
}

/// The changes as products that are added while a layer is packed; `None` where they are more than that.
pub(super) fn products(patches: &[Patch]) -> Result<Option<Vec<LowRank>>> {
    if !patches.iter().all(Patch::is_product) {
        return Ok(None);
    }
    let products: Vec<Option<LowRank>> = patches.iter().map(Patch::product).collect::<Result<_>>()?;
    Ok(products.into_iter().collect())
}

/// `W + sum of strength * dW`, in f32 and the weight's own shape. Every change is that of the weight as it is in the checkpoint.
pub(super) fn patched_weight(weight: &Tensor, patches: &[Patch]) -> Result<Tensor> {
    let base = Weight::from(weight).to_f32()?.reshape((weight.dim(0)?, ()))?;
    let mut sum = base.clone();
    for Patch { file, group, module, strength } in patches {
        let group = &file.groups[*group];
        let device = weight.device();
        let Some(change) = change(file, group, module, device)? else { continue };
        let magnitude = match file.read(group, Part::DoraScale, device)? {
            Some(scale) => Some((scale, DoraKind::Outside)),
            None => file.read(group, Part::Magnitude, device)?.map(|magnitude| (magnitude, DoraKind::Inside)),
        };
        sum = match (magnitude, &change) {
            (Some((magnitude, kind)), change) => {
                let inputs = module.shape.get(1).copied().unwrap_or(1);
                (sum + decomposed(&base, change, &magnitude, (kind, *strength, inputs))?)?
            }
            (None, Change::Rotation(rotation)) => (sum + rotation.change(&base, *strength)?)?,
            (None, change) => (sum + (change.dense(&base)? * *strength)?)?,
        };
    }
    Ok(sum.reshape(weight.shape())?)
}

/// `bias + sum of strength * diff_b`, in f32.
pub(super) fn patched_bias(bias: &Tensor, patches: &[Patch]) -> Result<Tensor> {
    let mut sum = bias.to_dtype(DType::F32)?;
    for Patch { file, group, strength, .. } in patches {
        if let Some(diff) = file.read(&file.groups[*group], Part::DiffB, bias.device())? {
            sum = (sum + (diff.reshape(bias.shape())? * *strength)?)?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::lora::fit::fit;
    use crate::weights::{Weights, WeightsOptions};
    use candle_core::Device;
    use std::collections::HashMap;
    use std::path::Path;

    fn patch(keys: HashMap<String, Tensor>, shape: &[usize], strength: f64) -> Patch {
        let file = Arc::new(LoraFile::from_weights(Weights::from_tensors(keys)).unwrap());
        assert!(file.strangers.is_empty());
        let module = Module { name: "x".into(), key: "x.".into(), shape: shape.to_vec(), bias: None };
        fit(&file, &file.groups[0], &module).unwrap();
        Patch { file, group: 0, module, strength }
    }

    #[test]
    fn rotations_and_glora_change_weights_as_lycoris_does() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/fixtures/adapters/families.safetensors");
        let golden = Weights::open(&path, &WeightsOptions::default()).unwrap();
        let read = |name: &str| golden.read(name, &Device::Cpu).unwrap();
        let mut seen = 0;
        for name in golden.names() {
            let Some((case, strength)) = name.split_once("/change/") else { continue };
            let start = format!("{case}/key/");
            let keys = golden.names().into_iter().filter_map(|key| Some((format!("lora_unet_x.{}", key.strip_prefix(&start)?), read(&key))));
            let weight = read(&format!("{case}/weight"));
            let patch = patch(keys.collect(), weight.dims(), strength.parse().unwrap());
            let change = (patched_weight(&weight, &[patch]).unwrap() - &weight).unwrap();
            let far = (change - read(&name)).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            // Weights below 1, changes below 3, in f32.
            assert!(far < 5e-6, "{name}: {far}");
            seen += 1;
        }
        assert_eq!(seen, 15);
    }

    #[test]
    fn old_rotations_are_taken_as_they_are_and_latent_matrices_are_strangers() {
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let quarter = tensor(&[0.0, 1.0, -1.0, 0.0], &[1, 2, 2]);
        let weight = tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
        let patch = patch(HashMap::from([("lora_unet_x.oft_diag".to_string(), quarter)]), &[2, 2], 1.0);
        let turned: Vec<Vec<f32>> = patched_weight(&weight, &[patch]).unwrap().to_vec2().unwrap();
        assert_eq!(turned, [[-3.0, -4.0], [1.0, 2.0]]);
        let keys = ["lora_A.weight", "lora_B.weight", "default_lora_latent_mapping.weight"];
        let file = keys.map(|key| (format!("unet.mid_block.x.{key}"), tensor(&[1.0], &[1, 1])));
        assert!(LoraFile::from_weights(Weights::from_tensors(HashMap::from(file))).is_err());
    }
}
