import { expected } from '../errors.ts'
import type { CompelOptions } from './compel/embeddings.ts'
import { compelEncoder } from './compel/encode.ts'
import type { EncoderText, PromptEncoder } from './encoding.ts'
import { type LpwOptions, lpwPair } from './lpw.ts'
import { lpwPairXL } from './lpw-xl.ts'
import { plainEncoder } from './plain.ts'
import type { TextEncoders } from './text-encoders.ts'
import { type WebuiOptions, webuiEncoder } from './webui.ts'

type Own<T> = Omit<T, 'clipSkip' | 'norm' | 'signal'>

/** A way to read prompts by name: diffusers' plain text, stable-diffusion-webui, compel, long-prompt weighting. */
export type SyntaxName = 'plain' | 'a1111' | 'compel' | 'lpw'

/**
 * A way to read prompts: a name, or a name with settings of its own.
 *
 * `firstStep` is the number of the first UNet call in schedules: the web UI counts from 0, and so keeps a text for one call more than its `when`
 * says; 1 counts as its documentation does. @default 0
 */
export type PromptSyntax =
  | SyntaxName
  | { name: 'plain' }
  | ({ name: 'a1111' } & Own<WebuiOptions> & { firstStep?: 0 | 1 })
  | ({ name: 'compel' } & Own<CompelOptions>)
  | ({ name: 'lpw' } & Own<LpwOptions>)

const SETTINGS: Record<SyntaxName, readonly string[]> = {
  plain: [],
  a1111: ['emphasis', 'commaBacktrack', 'firstStep'],
  compel: ['truncateLongPrompts', 'downweightMode', 'splitLongTextMode'],
  lpw: ['maxEmbeddingsMultiples', 'noBoseosMiddle', 'skipWeighting'],
}

/** The name of a syntax; throws `InvalidArgumentError` for an unknown name or setting. */
export function syntaxName(syntax: PromptSyntax): SyntaxName {
  const { name, ...settings } = typeof syntax === 'object' && syntax !== null ? syntax : { name: syntax }
  if (!Object.hasOwn(SETTINGS, name)) {
    throw expected("'plain', 'a1111', 'compel' or 'lpw'", 'promptSyntax', name)
  }
  const known = SETTINGS[name]
  const unknown = Object.keys(settings).find((key) => !known.includes(key))
  if (unknown !== undefined) {
    throw expected(`one of name${known.map((key) => `, ${key}`).join('')}`, 'a key of promptSyntax', unknown)
  }
  return name
}

/** What a syntax is given beside its own settings. */
export interface EncodeTextOptions {
  clipSkip?: number
  /** Plain text only: ids per negative prompt. */
  negativeLength?: number
  /** Long-prompt weighting for SDXL only: further texts of the call, as long as whose longest all shall be. */
  beside?: readonly EncoderText[]
  signal?: AbortSignal
}

/** The encoder of a syntax for the text encoders of a model. */
export function promptEncoder(
  encoders: TextEncoders,
  syntax: PromptSyntax,
  { negativeLength, ...given }: EncodeTextOptions = {},
): PromptEncoder {
  const { name, ...settings } = typeof syntax === 'object' ? syntax : { name: syntax }
  const options = { ...given, ...settings }
  switch (name) {
    case 'a1111':
      return webuiEncoder(encoders, options)
    case 'compel':
      return compelEncoder(encoders, options)
    case 'lpw':
      return lpwEncoder(encoders, options)
    default: {
      const { encode } = plainEncoder(encoders, given)
      const short = plainEncoder(encoders, { ...given, maxLength: negativeLength })
      return { encode: (text, role) => (role === 'negative' ? short.encode(text, role) : encode(text, role)) }
    }
  }
}

function lpwEncoder(encoders: TextEncoders, options: LpwOptions): PromptEncoder {
  const encodePair: PromptEncoder['encodePair'] = (...texts) =>
    encoders.family === 'sd' ? lpwPair(encoders.encoders[0], texts, options) : lpwPairXL(encoders, texts, options)
  return {
    encodePair,
    encode: async (text) => {
      const [encoding, negative] = await encodePair(text, { first: '' })
      negative.embeds.dispose()
      negative.pooled?.dispose()
      return encoding
    },
  }
}
