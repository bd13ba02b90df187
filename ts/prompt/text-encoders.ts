import { expected } from '../errors.ts'
import { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import type { AnyTextEncoder } from './hidden-states.ts'

/** What turns text into embeddings. */
export interface TextComponents {
  tokenizer: CLIPTokenizer
  textEncoder: CLIPTextModel
}

/** What turns text into SDXL's embeddings; the refiner has the second encoder only. */
export interface TextComponentsXL {
  tokenizer?: CLIPTokenizer | null
  textEncoder?: CLIPTextModel | null
  tokenizer2: CLIPTokenizer
  textEncoder2: CLIPTextModelWithProjection
}

/** A text encoder with its tokenizer. */
export interface ClipEncoder {
  tokenizer: CLIPTokenizer
  textEncoder: AnyTextEncoder
}

/** The encoders of a model, whose states stand side by side in the embeddings. */
export interface TextEncoders {
  family: 'sd' | 'sdxl'
  /** SDXL: both, or the second alone (refiner). */
  encoders: readonly [ClipEncoder, ...ClipEncoder[]]
}

/** Sorts out the components of a model; throws `InvalidArgumentError` if one is missing. */
export function textEncodersOf(components: TextComponents | TextComponentsXL): TextEncoders {
  const given: Partial<TextComponentsXL> = typeof components === 'object' && components !== null ? components : {}
  const { tokenizer, textEncoder, tokenizer2, textEncoder2 } = given
  const first = tokenizer instanceof CLIPTokenizer && textEncoder instanceof CLIPTextModel ? { tokenizer, textEncoder } : undefined
  if (tokenizer2 instanceof CLIPTokenizer && textEncoder2 instanceof CLIPTextModelWithProjection) {
    const second = { tokenizer: tokenizer2, textEncoder: textEncoder2 }
    return { family: 'sdxl', encoders: first === undefined ? [second] : [first, second] }
  }
  if (first === undefined) {
    throw expected('an object with a CLIPTokenizer as tokenizer and a CLIPTextModel as textEncoder', 'components', components)
  }
  return { family: 'sd', encoders: [first] }
}

const identities = new WeakMap<object, number>()
let counted = 0

function identity(value: object): number {
  const known = identities.get(value)
  if (known !== undefined) {
    return known
  }
  counted += 1
  identities.set(value, counted)
  return counted
}

/**
 * A text that stands for what these encoders are at this moment: another encoder, or tokens added to a tokenizer, give another text.
 *
 * Encoders are immutable: adapters make new ones.
 */
export function encoderState({ encoders }: TextEncoders): string {
  return encoders.map(({ tokenizer, textEncoder }) => `${identity(tokenizer)}+${tokenizer.length}/${identity(textEncoder)}`).join()
}
