//! `NativeControlNet` and `NativeControlNetUnion`: networks that steer a UNet by images.

use crate::error::{Failure, Outcome, Result, INTERNAL};
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use crate::unet::{tensors, NativeUnetInput, UnetArguments};
use candle_core::Tensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::controlnet::{ControlNetConfig, ControlNetInput, ControlNetModel, ControlNetOutput, ControlNetUnionModel, UnionConfig, UnionInput};
use nd_models::CancelToken;

/// What a ControlNet is told besides what the UNet is told.
#[napi(object, object_to_js = false)]
pub struct NativeControl<'env> {
    pub controlnet_cond: ClassInstance<'env, NativeTensor>,
    pub conditioning_scale: f64,
    pub guess_mode: bool,
}

/// What a union ControlNet is told besides what the UNet is told.
#[napi(object, object_to_js = false)]
pub struct NativeUnionControl<'env> {
    pub controlnet_cond: Vec<ClassInstance<'env, NativeTensor>>,
    pub control_type: ClassInstance<'env, NativeTensor>,
    pub control_type_idx: Vec<u32>,
    pub conditioning_scale: Vec<f64>,
    pub guess_mode: bool,
}

/// Residuals for a UNet.
#[napi(object, object_from_js = false)]
pub struct NativeControlOutput {
    pub down_block_res_samples: Vec<NativeTensor>,
    pub mid_block_res_sample: NativeTensor,
}

network_class!("A loaded ControlNet." NativeControlNet(ControlNetModel, file) {
    load, "Promise<NativeControlNet>": |json, weights, context| ControlNetModel::load(&ControlNetConfig::from_json(json)?, weights, context);
});
network_class!("A loaded ControlNet for several kinds of images." NativeControlNetUnion(ControlNetUnionModel, control.file) {
    load, "Promise<NativeControlNetUnion>": |json, weights, context| ControlNetUnionModel::load(&UnionConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeControlNet {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeControlOutput>")]
    pub fn forward<'env>(&self, env: &'env Env, input: NativeUnetInput, control: NativeControl, token: &NativeCancelToken) -> Result<Object<'env>> {
        let input = UnetArguments::new(input)?;
        let (image, conditioning_scale, guess_mode) = (control.controlnet_cond.tensor()?.clone(), control.conditioning_scale, control.guess_mode);
        let work = move |model: &ControlNetModel, cancel: &CancelToken| {
            let unet = input.plain(cancel);
            model.forward(&ControlNetInput { unet, controlnet_cond: &image, conditioning_scale, guess_mode }).map(flat)
        };
        Ok(self.handle.run(env, token, work, finish)?)
    }
}

#[napi]
impl NativeControlNetUnion {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeControlOutput>")]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        input: NativeUnetInput,
        control: NativeUnionControl,
        token: &NativeCancelToken,
    ) -> Result<Object<'env>> {
        let input = UnetArguments::new(input)?;
        let (images, types) = (tensors(Some(control.controlnet_cond))?, control.control_type.tensor()?.clone());
        let (scales, guess_mode) = (control.conditioning_scale, control.guess_mode);
        let kinds: Vec<usize> = control.control_type_idx.iter().map(|&kind| kind as usize).collect();
        let work = move |model: &ControlNetUnionModel, cancel: &CancelToken| {
            let input = UnionInput {
                unet: input.plain(cancel),
                controlnet_cond: &images,
                control_type: &types,
                control_type_idx: &kinds,
                conditioning_scale: &scales,
                guess_mode,
            };
            model.forward(&input).map(flat)
        };
        Ok(self.handle.run(env, token, work, finish)?)
    }
}

/// The residuals in one list, that of the mid block last.
fn flat(output: ControlNetOutput) -> Vec<Tensor> {
    let mut list = output.down_block_res_samples;
    list.push(output.mid_block_res_sample);
    list
}

fn finish(env: &Env, list: Vec<Tensor>) -> Outcome<NativeControlOutput> {
    let mut down_block_res_samples = NativeTensor::wrap_all(env, list)?;
    let missing = || Failure::new(INTERNAL, "Expected a residual from the ControlNet but received none");
    Ok(NativeControlOutput { mid_block_res_sample: down_block_res_samples.pop().ok_or_else(missing)?, down_block_res_samples })
}
