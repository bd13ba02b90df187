import { Generator, Tensor } from '../../ts/index.ts'

/** A layer of the built-in UNet and its weight's shape. */
export const query = { name: 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q', out: 32, inputs: 32 }

/** Random numbers. */
export function random(seed: number, shape: number[], scale = 0.3): Tensor {
  return new Generator(seed).randn(shape).mul(scale)
}

/** A kohya LoRA of rank 2 for one layer. */
export function kohya({ seed = 1, layer = query.name, out = query.out, inputs = query.inputs } = {}): Record<string, Tensor> {
  const name = `lora_unet_${layer.replaceAll('.', '_')}`
  return {
    [`${name}.lora_down.weight`]: random(seed, [2, inputs]),
    [`${name}.lora_up.weight`]: random(seed + 1, [out, 2]),
    [`${name}.alpha`]: Tensor.from([2]),
  }
}
