import { checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'

/** Strengths of one side of the UNet: for all its layers, or by block (`block_1`), each a number or one for each attention. */
export type BlockScales = number | Readonly<Record<string, number | readonly number[]>>

/**
 * Strength of an image prompt: one number, one for each cross-attention layer, or numbers by place, where what is not named is 0:
 * `{ down: { block_2: [0, 1] }, up: { block_0: [0, 1, 0] } }` takes layout and style of an image with SDXL, the second entry alone its style.
 */
export type ImagePromptScale =
  | number
  | readonly number[]
  | { readonly down?: BlockScales; readonly mid?: BlockScales; readonly up?: BlockScales }

const SIDES = ['down', 'mid', 'up']

/** Checks a scale's form and returns it. */
export function checkScale(scale: unknown): ImagePromptScale {
  const places = typeof scale === 'object' && scale !== null && !Array.isArray(scale)
  if (typeof scale !== 'number' && !Array.isArray(scale) && !places) {
    throw expected('a number, an array of numbers or an object by down, mid and up', 'scale', scale)
  }
  const strange = places ? Object.keys(scale).find((side) => !SIDES.includes(side)) : undefined
  if (strange !== undefined) {
    throw expected(`one of ${SIDES.join(', ')}`, 'a key of scale', strange)
  }
  for (const value of numbersOf(scale)) {
    checkNumber('scale', value)
  }
  return scale as ImagePromptScale
}

/**
 * A scale as numbers: one for all layers, or one for each layer by its name.
 *
 * Throws `InvalidArgumentError` for another number of numbers, or a block without cross-attention. Source: diffusers
 * `IPAdapterMixin.set_ip_adapter_scale`, `_maybe_expand_lora_scales`.
 */
export function layerScales(scale: ImagePromptScale, layers: readonly string[]): number | number[] {
  if (typeof scale === 'number') {
    return scale
  }
  if (Array.isArray(scale)) {
    if (scale.length !== layers.length) {
      throw expected(`one number, or one for each of ${layers.length} cross-attention layers,`, 'scale', scale)
    }
    return [...scale]
  }
  const places = layers.map(placeOf)
  checkBlocks(scale as Record<string, BlockScales>, places)
  return places.map(({ side, block, attention }) => {
    const own = (scale as Record<string, BlockScales | undefined>)[side] ?? 0
    const value = typeof own === 'number' ? own : (own[block] ?? 0)
    return typeof value === 'number' ? value : (value[attention] ?? 0)
  })
}

interface Place {
  side: string
  block: string
  attention: number
}

/** `down_blocks.1.attentions.0.transformer_blocks.0.attn2` -> down, block_1, 0. */
function placeOf(name: string): Place {
  const [, side = '', block = '0', attention = '0'] = /^(down|mid|up)_blocks?(?:\.(\d+))?\.attentions\.(\d+)\./.exec(name) ?? []
  return { side, block: `block_${block}`, attention: Number(attention) }
}

function checkBlocks(scale: Record<string, BlockScales>, places: readonly Place[]): void {
  for (const [side, blocks] of Object.entries(scale)) {
    for (const [block, value] of typeof blocks === 'number' ? [] : Object.entries(blocks)) {
      const attentions = new Set(places.filter((place) => place.side === side && place.block === block).map(({ attention }) => attention))
      if (attentions.size === 0) {
        throw expected('a block with cross-attention', `scale.${side}`, block)
      }
      if (typeof value !== 'number' && value.length !== attentions.size) {
        throw expected(`one number, or one for each of ${attentions.size} attentions,`, `scale.${side}.${block}`, value)
      }
    }
  }
}

function numbersOf(scale: unknown): unknown[] {
  return typeof scale === 'object' && scale !== null ? Object.values(scale).flatMap(numbersOf) : [scale]
}
