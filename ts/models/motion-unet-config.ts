import { ConfigError } from '../errors.ts'

/** Keys of a saved `UNetMotionModel` that mean the same for the spatial network. */
const SHARED = [
  ...['sample_size', 'in_channels', 'out_channels', 'block_out_channels', 'layers_per_block', 'downsample_padding', 'act_fn'],
  ...['mid_block_scale_factor', 'norm_num_groups', 'norm_eps', 'cross_attention_dim', 'transformer_layers_per_block'],
  ...['reverse_transformer_layers_per_block', 'use_linear_projection', 'encoder_hid_dim', 'encoder_hid_dim_type', 'addition_embed_type'],
  ...['addition_time_embed_dim', 'projection_class_embeddings_input_dim', 'time_cond_proj_dim'],
]
/** Keys of the motion modules, and their names in the config of a motion adapter. */
const MOTION: Record<string, string> = {
  block_out_channels: 'block_out_channels',
  layers_per_block: 'motion_layers_per_block',
  norm_num_groups: 'motion_norm_num_groups',
  motion_num_attention_heads: 'motion_num_attention_heads',
  motion_max_seq_length: 'motion_max_seq_length',
  use_motion_mid_block: 'use_motion_mid_block',
  temporal_transformer_layers_per_block: 'motion_transformer_layers_per_block',
  temporal_transformer_layers_per_mid_block: 'motion_transformer_layers_per_mid_block',
}

/** Weights of the motion modules in a saved `UNetMotionModel`. */
export const MOTION_WEIGHTS: RegExp = /\.motion_modules\./
/** Its other weights. */
export const SPATIAL_WEIGHTS: RegExp = /^(?!.*\.motion_modules\.)/

/** Whether a folder's config is of a UNet that was saved together with its motion modules (diffusers `UNetMotionModel.save_pretrained`). */
export const isMotionUnet = (config: Readonly<Record<string, unknown>>): boolean => config._class_name === 'UNetMotionModel'

/** Refuses what only networks have that AnimateDiff never published. */
function refuse(config: Readonly<Record<string, unknown>>, key: string, wanted: unknown): void {
  const value = config[key] ?? wanted
  if (value !== wanted) {
    throw new ConfigError(`Expected ${String(wanted)} for ${key} of a UNetMotionModel but received ${JSON.stringify(value)}`)
  }
}

/** The config of the `UNet2DConditionModel` inside; throws `ConfigError` for keys that it has no counterpart of. */
export function spatialConfig(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  refuse(config, 'mid_block_layers', 1)
  refuse(config, 'transformer_layers_per_mid_block', null)
  const flat = (names: unknown): unknown => (Array.isArray(names) ? names.map((name) => String(name).replace(/Motion$/, '2D')) : undefined)
  const down = flat(config.down_block_types)
  const up = flat(config.up_block_types)
  return {
    ...pick(config, Object.fromEntries(SHARED.map((key) => [key, key]))),
    ...(down !== undefined && { down_block_types: down }),
    ...(up !== undefined && { up_block_types: up }),
    attention_head_dim: config.num_attention_heads ?? 8, // the UNet's name for the number of heads
  }
}

/** The config of the `MotionAdapter` inside; throws `ConfigError` for keys that it has no counterpart of. */
export function temporalConfig(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  refuse(config, 'reverse_temporal_transformer_layers_per_block', null)
  refuse(config, 'reverse_motion_num_attention_heads', null)
  return pick(config, MOTION)
}

function pick(config: Readonly<Record<string, unknown>>, names: Record<string, string>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(names)
      .filter(([from]) => config[from] !== undefined && config[from] !== null)
      .map(([from, to]) => [to, config[from]]),
  )
}
