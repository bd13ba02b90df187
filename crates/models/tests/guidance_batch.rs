//! Guidance's batch repeats its latents: until a layer reads the prompt they are computed once, and the results are those of single calls to the bit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use nd_kernels::{cpu, profile};
use nd_models::adapters::{Motion, MotionAdapter, MotionConfig};
use nd_models::controlnet::{ControlNetConfig, ControlNetInput, ControlNetModel, ControlNetOutput, ControlNetUnionModel, UnionConfig, UnionInput};
use nd_models::unet::{Perturbation, UNet2DConditionModel, UNetConfig, UNetInput};
use nd_models::weights::{SeededWeights, WeightScope, Weights};
use nd_models::{CancelToken, LoadContext};
use serde_json::{json, Value};

const HEIGHT: usize = 8;
const WIDTH: usize = 12;

/// A UNet as Stable Diffusion 1.5 is one, with these keys changed.
fn config(changes: Value) -> Value {
    let mut config = json!({
        "block_out_channels": [32, 64], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "layers_per_block": 1, "norm_num_groups": 8, "cross_attention_dim": 24,
        "attention_head_dim": 4,
    });
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    config
}

/// A UNet as SDXL's, whose first block reads no prompt.
fn sdxl() -> Value {
    config(json!({
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2], "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64, "use_linear_projection": true,
    }))
}

fn weights() -> WeightScope {
    Weights::new(SeededWeights::new(1, DType::F32)).scope()
}

fn context() -> LoadContext {
    LoadContext::cpu(DType::F32)
}

fn unet(config: &Value) -> UNet2DConditionModel {
    UNet2DConditionModel::load(&UNetConfig::from_json(config).unwrap(), weights(), &context()).unwrap()
}

/// Numbers that depend on the seed alone.
fn numbers(seed: usize, shape: &[usize]) -> Tensor {
    let value = |i: usize| ((i as f64 * 12.9898 + seed as f64 * 78.233).sin() * 43758.5453).fract() as f32;
    Tensor::from_vec((0..shape.iter().product()).map(value).collect(), shape, &Device::Cpu).unwrap()
}

/// One sample for each seed.
fn samples(seeds: &[usize], shape: &[usize]) -> Tensor {
    Tensor::stack(&seeds.iter().map(|&seed| numbers(seed, shape)).collect::<Vec<_>>(), 0).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// What a UNet is called with, a row for each sample.
#[derive(Clone)]
struct Rows {
    sample: Tensor,
    text: Tensor,
    pooled: Tensor,
    ids: Tensor,
    features: Vec<Tensor>,
}

impl Rows {
    /// Latents of these seeds; each has a prompt of its own, pooled texts have the given seeds.
    fn new(unet: &UNet2DConditionModel, seeds: &[usize], pooled: &[usize]) -> Self {
        let config = unet.config();
        let prompts: Vec<usize> = (100..100 + seeds.len()).collect();
        Self {
            sample: samples(seeds, &[config.in_channels, HEIGHT, WIDTH]),
            text: samples(&prompts, &[7, config.context_width()]),
            pooled: samples(pooled, &[16]),
            ids: samples(&vec![5; seeds.len()], &[6]),
            features: Vec::new(),
        }
    }

    fn of(&self, row: usize) -> Self {
        let part = |tensor: &Tensor| tensor.narrow(0, row, 1).unwrap();
        let features = self.features.iter().map(part).collect();
        Self { sample: part(&self.sample), text: part(&self.text), pooled: part(&self.pooled), ids: part(&self.ids), features }
    }

    fn run(&self, unet: &UNet2DConditionModel, perturbed: Option<Perturbation>) -> Tensor {
        let cancel = CancelToken::new();
        let input = UNetInput {
            text_embeds: Some(&self.pooled),
            time_ids: Some(&self.ids),
            down_intrablock_additional_residuals: &self.features,
            perturbed,
            ..UNetInput::new(&self.sample, &[500.0], &self.text, &cancel)
        };
        unet.forward(&input).unwrap()
    }

    /// Each row alone gives what it gives in the batch.
    fn check(&self, unet: &UNet2DConditionModel, what: &str) {
        let together = self.run(unet, None);
        for row in 0..self.sample.dim(0).unwrap() {
            let alone = self.of(row).run(unet, None);
            assert!(bits(&alone) == bits(&together.get(row).unwrap()), "{what}, row {row}");
        }
    }
}

/// candle's own operations do not give the same bits for any batch.
fn depends_on_batch() -> bool {
    cpu::level() == cpu::Level::Reference
}

#[test]
fn a_batch_gives_the_bits_of_single_calls() {
    if depends_on_batch() {
        return;
    }
    let simple = json!({
        "down_block_types": ["SimpleCrossAttnDownBlock2D", "ResnetDownsampleBlock2D"], "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ["ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"], "attention_head_dim": 8,
    });
    let k = json!({
        "block_out_channels": [32, 64, 64], "down_block_types": ["KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"],
        "up_block_types": ["KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"], "mid_block_type": null, "attention_head_dim": 8,
        "act_fn": "gelu", "resnet_time_scale_shift": "scale_shift", "cross_attention_norm": "layer_norm", "time_embedding_type": "fourier",
    });
    let cases = [
        ("Stable Diffusion", config(json!({}))),
        ("inpainting", config(json!({ "in_channels": 9 }))),
        ("only cross-attention", config(json!({ "only_cross_attention": true }))),
        ("prompts in the mid block only", config(json!({ "down_block_types": ["DownBlock2D", "DownBlock2D"] }))),
        ("SDXL", sdxl()),
        ("simple blocks", config(simple)),
        ("K blocks", config(k)),
    ];
    for (name, config) in &cases {
        let unet = unet(config);
        for seeds in [&[1, 1][..], &[1, 2], &[1, 2, 1, 2], &[1, 1, 1], &[1, 2, 1], &[1, 2, 2, 1]] {
            let same = vec![3; seeds.len()];
            Rows::new(&unet, seeds, &same).check(&unet, &format!("{name}, latents {seeds:?}"));
            let own: Vec<usize> = (3..3 + seeds.len()).collect();
            Rows::new(&unet, seeds, &own).check(&unet, &format!("{name}, latents {seeds:?}, each with a pooled text"));
        }
    }
}

#[test]
fn timesteps_tell_equal_latents_apart() {
    let (unet, cancel) = (unet(&config(json!({}))), CancelToken::new());
    let rows = Rows::new(&unet, &[1, 1], &[3, 3]);
    let run = |rows: &Rows, timesteps: &[f64]| unet.forward(&UNetInput::new(&rows.sample, timesteps, &rows.text, &cancel)).unwrap();
    let together = run(&rows, &[500.0, 20.0]);
    let alone = run(&rows.of(1), &[20.0]);
    let difference = (together.get(1).unwrap() - alone.get(0).unwrap()).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    // Of numbers around 1, in f32.
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn features_and_perturbations_tell_equal_latents_apart() {
    if depends_on_batch() {
        return;
    }
    let xl = unet(&sdxl());
    let features = vec![numbers(8, &[2, 32, HEIGHT / 2, WIDTH / 2]), numbers(9, &[2, 64, HEIGHT / 2, WIDTH / 2])];
    Rows { features, ..Rows::new(&xl, &[1, 1], &[3, 3]) }.check(&xl, "features");

    let unet = unet(&config(json!({})));
    let rows = Rows::new(&unet, &[1, 1, 1], &[3, 3, 3]);
    let together = rows.run(&unet, Some(Perturbation { layers: &[0], samples: 1 }));
    for (row, samples) in [(0, 0), (1, 0), (2, 1)] {
        let alone = rows.of(row).run(&unet, Some(Perturbation { layers: &[0], samples }));
        assert!(bits(&alone) == bits(&together.get(row).unwrap()), "perturbed row {row}");
    }
}

#[test]
fn videos_repeat_as_a_whole() {
    if depends_on_batch() {
        return;
    }
    let (unet, cancel) = (unet(&config(json!({}))), CancelToken::new());
    let motion =
        json!({ "block_out_channels": [32, 64], "motion_layers_per_block": 1, "motion_num_attention_heads": 4, "motion_norm_num_groups": 8 });
    let adapter = MotionAdapter::load(&MotionConfig::from_json(&motion).unwrap(), weights(), &context()).unwrap();
    let run = |sample: &Tensor, text: &Tensor| {
        let motion = Some(Motion { adapter: &adapter, frames: 2, windows: None });
        unet.forward(&UNetInput { motion, ..UNetInput::new(sample, &[500.0], text, &cancel) }).unwrap()
    };
    for seeds in [[1, 2, 1, 2], [1, 1, 1, 1]] {
        let (sample, text) = (samples(&seeds, &[4, HEIGHT, WIDTH]), samples(&[100, 100, 101, 101], &[7, 24]));
        let together = run(&sample, &text);
        for start in [0, 2] {
            let part = |tensor: &Tensor| tensor.narrow(0, start, 2).unwrap();
            assert!(bits(&run(&part(&sample), &part(&text))) == bits(&part(&together)), "frames {seeds:?} from {start}");
        }
    }
}

fn residuals(output: ControlNetOutput) -> Vec<Tensor> {
    [output.down_block_res_samples, vec![output.mid_block_res_sample]].concat()
}

#[test]
fn controlnets_give_the_bits_of_single_calls() {
    if depends_on_batch() {
        return;
    }
    let control = config(json!({ "conditioning_embedding_out_channels": [8, 16] }));
    let model = ControlNetModel::load(&ControlNetConfig::from_json(&control).unwrap(), weights(), &context()).unwrap();
    let cancel = CancelToken::new();
    let (sample, text) = (samples(&[1, 1], &[4, HEIGHT, WIDTH]), samples(&[100, 101], &[7, 24]));
    let run = |sample: &Tensor, text: &Tensor, image: &Tensor| {
        let unet = UNetInput::new(sample, &[500.0], text, &cancel);
        residuals(model.forward(&ControlNetInput { unet, controlnet_cond: image, conditioning_scale: 0.7, guess_mode: false }).unwrap())
    };
    for seeds in [[4, 4], [4, 5]] {
        let image = samples(&seeds, &[3, 2 * HEIGHT, 2 * WIDTH]);
        let together = run(&sample, &text, &image);
        for row in [0, 1] {
            let part = |tensor: &Tensor| tensor.narrow(0, row, 1).unwrap();
            let alone = run(&part(&sample), &part(&text), &part(&image));
            for (i, (alone, together)) in alone.iter().zip(&together).enumerate() {
                assert!(bits(alone) == bits(&part(together)), "residual {i} of row {row}, images {seeds:?}");
            }
        }
    }
}

/// Its layers over the images attend to each other's samples, so a row is compared in batches of which it is a part.
#[test]
fn union_controlnets_give_a_row_the_bits_of_its_prompt() {
    if depends_on_batch() {
        return;
    }
    let union = config(json!({
        "conditioning_embedding_out_channels": [8, 16], "num_control_type": 2, "num_trans_channel": 32, "num_trans_head": 4,
        "num_proj_channel": 32, "addition_time_embed_dim": 8,
    }));
    let model = ControlNetUnionModel::load(&UnionConfig::from_json(&union).unwrap(), weights(), &context()).unwrap();
    let cancel = CancelToken::new();
    let (sample, images) = (samples(&[1, 1], &[4, HEIGHT, WIDTH]), [samples(&[4, 4], &[3, 2 * HEIGHT, 2 * WIDTH])]);
    let control_type = Tensor::new(&[[0f32, 1.0], [0.0, 1.0]], &Device::Cpu).unwrap();
    let run = |prompts: [usize; 2]| {
        let text = samples(&prompts, &[7, 24]);
        let unet = UNetInput::new(&sample, &[500.0], &text, &cancel);
        let (control_type_idx, conditioning_scale) = (&[1][..], &[0.7][..]);
        let input =
            UnionInput { unet, controlnet_cond: &images, control_type: &control_type, control_type_idx, conditioning_scale, guess_mode: false };
        residuals(model.forward(&input).unwrap())
    };
    let [both, swapped, equal] = [[100, 101], [101, 100], [100, 100]].map(run);
    for (i, ((both, swapped), equal)) in both.iter().zip(&swapped).zip(&equal).enumerate() {
        let row = |tensor: &Tensor, row: usize| bits(&tensor.get(row).unwrap());
        assert!(row(both, 0) == row(swapped, 1) && row(both, 1) == row(swapped, 0), "residual {i}");
        assert!(row(both, 0) == row(equal, 0), "residual {i} beside another prompt");
    }
    assert!(bits(&both[1].get(0).unwrap()) != bits(&both[1].get(1).unwrap()), "the prompt says nothing");
}

/// How often convolutions and attentions ran that begin so; no other test here has pictures of this size.
fn calls(seeds: &[usize], shapes: &[&str]) -> Vec<u64> {
    let (unet, cancel) = (unet(&config(json!({}))), CancelToken::new());
    let (sample, text) = (samples(seeds, &[4, 14, 10]), samples(&[100, 101], &[7, 24]));
    profile::start();
    unet.forward(&UNetInput::new(&sample, &[500.0], &text, &cancel)).unwrap();
    let records = profile::stop();
    let count = |shape: &&str| records.iter().filter(|record| record.shape == *shape).map(|record| record.calls).sum();
    shapes.iter().map(count).collect()
}

#[test]
fn what_comes_before_the_prompt_runs_once() {
    // Attention over the image in the first layer and in the two last ones; the first layer's convolutions and the down-sampling one.
    let shapes = ["140 x 140 x 8, 4 heads", "140 x 140 x 8, 8 heads", "3x3 32 -> 32 at 1x14x10", "3x3 32 -> 32 at 2x14x10"];
    let (shared, apart) = (calls(&[1, 1], &shapes), calls(&[1, 2], &shapes));
    assert_eq!(shared[..2], [1, 2]);
    assert_eq!(apart[..2], [0, 3]);
    assert_eq!((shared[2], apart[2]), (2, 0));
    assert_eq!(shared[2] + shared[3], apart[3]);
}
