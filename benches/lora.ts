import { Generator, LoraAdapter, type Tensor } from 'node-diffusion'
import { type Measurement, measure } from './measure.ts'
import type { BenchOptions } from './models.ts'
import { openTextEncoder, openUnet, randomCheckpoint } from './open.ts'

type Layer = [name: string, out: number, inputs: number]

/** What kohya's trainer changes: every linear layer of the transformers, 192 in the UNet of Stable Diffusion 1.5. */
function transformers(config: Readonly<Record<string, unknown>>): Layer[] {
  const channels = config.block_out_channels as number[]
  const layers = Number(config.layers_per_block)
  const context = Number(config.cross_attention_dim)
  const types = { down: config.down_block_types as string[], up: config.up_block_types as string[] }
  const last = channels.length - 1
  const places: [string, number][] = [['mid_block_attentions_0', channels[last] ?? 0]]
  for (const [i, width] of channels.entries()) {
    for (let j = 0; j <= layers; j++) {
      if (j < layers && /Attn/.test(types.down[i] ?? '')) {
        places.push([`down_blocks_${i}_attentions_${j}`, width])
      }
      if (/Attn/.test(types.up[last - i] ?? '')) {
        places.push([`up_blocks_${last - i}_attentions_${j}`, width])
      }
    }
  }
  return places.flatMap(([place, width]): Layer[] => {
    const block = `${place}_transformer_blocks_0`
    const attention = ['attn1', 'attn2'].flatMap((name): Layer[] => {
      const from = name === 'attn1' ? width : context
      return [
        [`${block}_${name}_to_q`, width, width],
        [`${block}_${name}_to_k`, width, from],
        [`${block}_${name}_to_v`, width, from],
        [`${block}_${name}_to_out_0`, width, width],
      ]
    })
    const others: Layer[] = [
      [`${place}_proj_in`, width, width],
      [`${place}_proj_out`, width, width],
      [`${block}_ff_net_0_proj`, 8 * width, width],
      [`${block}_ff_net_2`, width, 4 * width],
    ]
    return [...attention, ...others]
  })
}

/** Every linear layer of the text encoder, 72 in Stable Diffusion 1.5. */
function textLayers(config: Readonly<Record<string, unknown>>): Layer[] {
  const [width, inner] = [Number(config.hidden_size), Number(config.intermediate_size)]
  return Array.from({ length: Number(config.num_hidden_layers) }, (_, i) => `text_model_encoder_layers_${i}`).flatMap((layer): Layer[] => [
    ...['q', 'k', 'v', 'out'].map((name): Layer => [`${layer}_self_attn_${name}_proj`, width, width]),
    [`${layer}_mlp_fc1`, inner, width],
    [`${layer}_mlp_fc2`, width, inner],
  ])
}

function tensors(prefix: string, layers: readonly Layer[], rank: number): Record<string, Tensor> {
  const generator = new Generator(1)
  const named = layers.flatMap(([name, out, inputs]): [string, Tensor][] => [
    [`${prefix}${name}.lora_down.weight`, generator.randn([rank, inputs]).mul(0.01).to('f16')],
    [`${prefix}${name}.lora_up.weight`, generator.randn([out, rank]).mul(0.01).to('f16')],
  ])
  return Object.fromEntries(named)
}

/** Switching the weight of one LoRA of everything that kohya's trainer changes: all changed layers are made anew. */
export async function lora(options: BenchOptions): Promise<Measurement[]> {
  const model = options.architecture === undefined ? options.model : await randomCheckpoint(options.architecture)
  const from = { ...options, model, architecture: undefined }
  await using unet = await openUnet(from)
  await using textEncoder = await openTextEncoder(from)
  const layers = [transformers(unet.config), textLayers(textEncoder.config)] as const
  const { rank } = options
  const adapter = await LoraAdapter.load({ ...tensors('lora_unet_', layers[0], rank), ...tensors('lora_te_', layers[1], rank) })
  const millions = (list: readonly Layer[]): string => (list.reduce((sum, [, out, inputs]) => sum + out * inputs, 0) / 1e6).toFixed(0)
  let weight = 0
  const work = async (): Promise<void> => {
    weight += 0.1
    const adapters = [{ adapter, weight }]
    await using adapted = unet.withAdapters(adapters)
    await using encoder = textEncoder.withAdapters(adapters)
    await Promise.all([adapted.prepare(), encoder.prepare()])
  }
  const what = `rank ${rank}, ${layers[0].length} + ${layers[1].length} layers, ${millions(layers[0])} + ${millions(layers[1])} M weights, f16 file as ${options.dtype}`
  return [await measure('lora', what, options, work)]
}
