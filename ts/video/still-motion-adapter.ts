import { expected } from '../errors.ts'
import { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { Tensor } from '../tensor.ts'
import { MotionAdapter } from './motion-adapter.ts'

/** The parts of a motion module that are matrices or vectors, as (name, rows, columns) for a width; no columns for a vector. */
function parts(width: number): [name: string, rows: number, columns?: number][] {
  const attention = (name: string): [string, number, number?][] => [
    ...['to_q', 'to_k', 'to_v'].map((part): [string, number, number] => [`${name}.${part}.weight`, width, width]),
    [`${name}.to_out.0.weight`, width, width],
    [`${name}.to_out.0.bias`, width],
  ]
  const block = 'transformer_blocks.0'
  return [
    ['proj_in.weight', width, width],
    ['proj_in.bias', width],
    ['proj_out.weight', width, width],
    ['proj_out.bias', width],
    ...attention(`${block}.attn1`),
    ...attention(`${block}.attn2`),
    [`${block}.ff.net.0.proj.weight`, 8 * width, width],
    [`${block}.ff.net.0.proj.bias`, 8 * width],
    [`${block}.ff.net.2.weight`, width, 4 * width],
    [`${block}.ff.net.2.bias`, width],
  ]
}

/**
 * Motion modules of zeros for a UNet, which leave every frame as the UNet alone makes it: for pictures that change by their prompts or noise
 * only, and as the state from which motion modules are trained.
 */
export async function stillMotionAdapter(
  unet: UNet2DConditionModel,
  { maxFrames = 32 }: { maxFrames?: number } = {},
): Promise<MotionAdapter> {
  if (!(unet instanceof UNet2DConditionModel)) {
    throw expected('a UNet2DConditionModel', 'unet', unet)
  }
  const { block_out_channels: channels, layers_per_block: layers, norm_num_groups: groups } = unet.config
  const counts = channels.map((_, i) => (Array.isArray(layers) ? (layers[i] ?? 1) : Number(layers)))
  const weights: Record<string, Tensor> = {}
  const add = (prefix: string, width: number): void => {
    for (const [name, rows, columns] of parts(width)) {
      weights[`${prefix}.${name}`] = Tensor.zeros(columns === undefined ? [rows] : [rows, columns])
    }
    for (const norm of ['norm', 'transformer_blocks.0.norm1', 'transformer_blocks.0.norm2', 'transformer_blocks.0.norm3']) {
      weights[`${prefix}.${norm}.weight`] = Tensor.ones([width])
      weights[`${prefix}.${norm}.bias`] = Tensor.zeros([width])
    }
    weights[`${prefix}.transformer_blocks.0.pos_embed.pe`] = Tensor.zeros([1, maxFrames, width])
  }
  const levels = channels.length
  for (const [level, width] of channels.entries()) {
    const count = counts[level] ?? 1
    for (let layer = 0; layer <= count; layer += 1) {
      add(`up_blocks.${levels - 1 - level}.motion_modules.${layer}`, width)
      if (layer < count) {
        add(`down_blocks.${level}.motion_modules.${layer}`, width)
      }
    }
  }
  const config = {
    block_out_channels: channels,
    motion_layers_per_block: counts,
    motion_num_attention_heads: 1,
    motion_norm_num_groups: Number(groups ?? 32),
    motion_max_seq_length: maxFrames,
    use_motion_mid_block: false,
  }
  try {
    return await MotionAdapter.fromWeights(config, weights)
  } finally {
    for (const tensor of Object.values(weights)) {
      tensor.dispose()
    }
  }
}
