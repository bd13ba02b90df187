import { checkInteger, checkNumber, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import type { PromptCache } from './cache.ts'
import { CallEncoder } from './call-encoder.ts'
import { type ConditionedText, Conditioning, type PromptConditioning } from './conditioning.ts'
import type { TextEncoding } from './encoding.ts'
import { lorasOf, type ReadPrompt, readPrompt, type TimedText, type WrittenPrompt } from './read-prompt.ts'
import { zerosLike } from './side-by-side.ts'
import { applyStyles, type PromptStyle } from './styles.ts'
import { type PromptSyntax, type SyntaxName, syntaxName } from './syntax-choice.ts'
import { type TextComponents, type TextComponentsXL, type TextEncoders, textEncodersOf } from './text-encoders.ts'
import { expandWildcards, type Wildcards } from './wildcards.ts'

/** One text for all prompts, or one for each. */
type Texts = string | readonly string[]

/** How prompts are encoded. */
export interface EncodePromptOptions {
  /** How the prompts are read. @default 'plain' */
  syntax?: PromptSyntax
  /** What to steer away from. @default '', or zeros for SDXL models that want that */
  negativePrompt?: Texts
  /** Text for SDXL's second encoder. @default the prompt */
  prompt2?: Texts
  /** Negative text for SDXL's second encoder. @default `negativePrompt` */
  negativePrompt2?: Texts
  /** Layers of the text encoder to leave out: 1 takes the layer before the last; in the syntax 'a1111' that is 2. @default none */
  clipSkip?: number
  /** UNet calls that schedules unfold over: the steps, twice as many for samplers that call the UNet twice. @default 50 */
  steps?: number
  /** Share of the run, 0 to 1, before which the empty prompt stands in for the negative one. @default 0 */
  negativePromptFrom?: number
  /** Put around each prompt, in order. */
  styles?: readonly PromptStyle[]
  /** Turns on `{a|b}` and `__name__`, and holds the lines of the names. */
  wildcards?: Wildcards
  /** Decides the choices among wildcards; prompt i takes seed + i. @default 0 */
  seed?: number
  /** How often each prompt is wanted. @default 1 */
  numImagesPerPrompt?: number
  /** False leaves negative prompts out, for runs without guidance. @default true */
  guided?: boolean
  /** SDXL: an absent negative prompt is zeros. @default true */
  zerosForEmptyPrompt?: boolean
  /** Plain syntax: ids of a negative prompt, where it must match embeddings of other length. @default the tokenizer's limit */
  negativeLength?: number
  /** Keeps encoded texts for the next call. @default none */
  cache?: PromptCache
  signal?: AbortSignal
}

/**
 * Encodes prompts and their negatives for the text encoders of a model; the conditioning belongs to the caller.
 *
 * Styles are put on first, then wildcards chosen, LoRA tags taken out, prompts split at `AND` and unfolded over the steps; each distinct text is
 * encoded once. Throws `InvalidArgumentError` for bad options, and where the syntax refuses a text, with the place.
 */
export async function encodePrompt(
  components: TextComponents | TextComponentsXL,
  prompt: Texts,
  options: EncodePromptOptions = {},
): Promise<Conditioning> {
  const given = checkOptions('options', options)
  const { syntax = 'plain', steps = 50, negativePromptFrom = 0, clipSkip, negativeLength, cache, signal } = given
  const encoders = textEncodersOf(components)
  const name = syntaxName(syntax)
  checkInteger('steps', steps, { min: 1 })
  checkNumber('negativePromptFrom', negativePromptFrom, { min: 0, max: 1 })
  const read = writtenPrompts(prompt, given).map((written) => readPrompt(written, { syntax, steps }))
  const loras = lorasOf(read)
  const together = name === 'lpw' && encoders.family === 'sdxl' && read.length > 1
  const beside = together ? read.flatMap(({ parts, negative }) => [firstText(parts[0]?.texts), firstText(negative)]) : undefined
  using encoder = new CallEncoder(encoders, { syntax, clipSkip, negativeLength, beside, cache, signal })
  const prompts: PromptConditioning[] = []
  const guided = (given.guided ?? true) || read.some(({ parts }) => parts.length > 1 || parts[0]?.weight !== 1)
  for (const item of read) {
    prompts.push(await encodeOne(encoder, item, { ...given, guided, name, family: encoders.family }))
  }
  const empty = name === 'plain' ? undefined : await encoder.one({ first: '' }, 'positive')
  const blank = negativePromptFrom === 0 ? undefined : await encoder.one({ first: '' }, 'negative')
  const changes = read.some(({ parts, negative }) => [...parts.map(({ texts }) => texts), negative].some((texts) => texts.length > 1))
  const conditioning = new Conditioning({
    syntax: name,
    prompts,
    steps: changes ? steps : undefined,
    empty,
    blank,
    negativeFrom: negativePromptFrom,
    loras,
  })
  encoder.release(conditioning.encodings())
  return conditioning
}

type Kind = Pick<EncodePromptOptions, 'guided' | 'zerosForEmptyPrompt'> & { name: SyntaxName; family: TextEncoders['family'] }

async function encodeOne(
  encoder: CallEncoder,
  { written, parts, negative }: ReadPrompt,
  { guided = true, zerosForEmptyPrompt = true, name, family }: Kind,
): Promise<PromptConditioning> {
  const labels = { prompt: written.prompt, negativePrompt: written.negativePrompt ?? '' }
  const pair = await encoder.pair(firstText(parts[0]?.texts), firstText(negative))
  if (pair !== undefined) {
    const always = (i: number): ConditionedText[] => [
      { until: Number.POSITIVE_INFINITY, text: i === 0 ? labels.prompt : labels.negativePrompt, encoding: pair[i] as TextEncoding },
    ]
    return { ...labels, parts: [{ weight: 1, texts: always(0) }], negative: guided ? always(1) : undefined }
  }
  const encode = async (texts: readonly TimedText[], role: 'positive' | 'negative'): Promise<ConditionedText[]> => {
    const encoded: ConditionedText[] = []
    for (const { until, text } of texts) {
      encoded.push({ until, text: text.first, encoding: await encoder.one(text, role) })
    }
    return encoded
  }
  const encodedParts: PromptConditioning['parts'][number][] = []
  for (const { weight, texts } of parts) {
    encodedParts.push({ weight, texts: await encode(texts, 'positive') })
  }
  if (!guided) {
    return { ...labels, parts: encodedParts }
  }
  const first = encodedParts[0]?.texts[0]?.encoding
  if (first !== undefined && family === 'sdxl' && name !== 'a1111' && zerosForEmptyPrompt && written.negativePrompt === undefined) {
    const encoding = encoder.adopt(zerosLike(first))
    return { ...labels, parts: encodedParts, negative: [{ until: Number.POSITIVE_INFINITY, text: '', encoding }] }
  }
  return { ...labels, parts: encodedParts, negative: await encode(negative, 'negative') }
}

function firstText(texts: readonly TimedText[] | undefined): TimedText['text'] {
  return texts?.[0]?.text ?? { first: '' }
}

/** The prompts of a call, each as often as it is wanted, with styles put on and wildcards chosen. */
export function writtenPrompts(prompt: Texts, options: EncodePromptOptions): WrittenPrompt[] {
  const { negativePrompt, prompt2, negativePrompt2, styles = [], wildcards, seed = 0, numImagesPerPrompt = 1 } = options
  const prompts = textList('prompt', prompt, undefined)
  checkInteger('numImagesPerPrompt', numImagesPerPrompt, { min: 1, max: 1024 })
  const lists = Object.entries({ negativePrompt, prompt2, negativePrompt2 }).map(
    ([name, texts]) => [name, texts === undefined ? undefined : textList(name, texts, prompts.length)] as const,
  )
  const written = prompts.map((text, i): WrittenPrompt => {
    const others = Object.fromEntries(lists.map(([name, texts]) => [name, texts?.[i]]))
    const styled = applyStyles({ prompt: text, negativePrompt: others.negativePrompt }, styles)
    const named = others.negativePrompt === undefined && styled.negativePrompt === '' ? undefined : styled.negativePrompt
    return { ...others, prompt: styled.prompt, negativePrompt: named }
  })
  const repeated = written.flatMap((item) => Array.from({ length: numImagesPerPrompt }, () => item))
  return wildcards === undefined ? repeated : repeated.map((item, i) => chooseWildcards(item, wildcards, seed + i))
}

/** Chooses wildcards in every text of a prompt. */
export function chooseWildcards(written: WrittenPrompt, wildcards: Wildcards, seed: number | bigint): WrittenPrompt {
  const entries = Object.entries(written).map(([name, text]: [string, string | undefined]) => [
    name,
    text === undefined ? undefined : expandWildcards(text, seed, wildcards),
  ])
  return { ...written, ...Object.fromEntries(entries) }
}

function textList(name: string, texts: unknown, length: number | undefined): string[] {
  const list: unknown[] = Array.isArray(texts) ? texts : Array.from({ length: length ?? 1 }, () => texts)
  if (list.length === 0 || !list.every((text) => typeof text === 'string')) {
    throw expected('a string or a non-empty array of strings', name, texts)
  }
  if (length !== undefined && list.length !== length) {
    throw expected(`one text, or one for each of ${length} prompts`, name, texts)
  }
  return list
}
