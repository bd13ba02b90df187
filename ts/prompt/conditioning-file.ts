import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { WeightsError } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import type { Conditioning, ConditioningInit } from './conditioning.ts'
import type { TextEncoding } from './encoding.ts'

const text = z.object({ until: z.number().nullable(), text: z.string(), encoding: z.int().min(0) })
const token = z.object({ id: z.number(), token: z.string(), weight: z.number() })
const described = z.object({
  chunks: z.array(z.object({ tokens: z.array(token) })),
  cut: z.string(),
  pooled: z.boolean(),
  zeros: z.literal(true).optional(),
})
const structure = z.object({
  version: z.literal(1),
  syntax: z.enum(['plain', 'a1111', 'compel', 'lpw', 'embeds']),
  steps: z.number().optional(),
  negativeFrom: z.number(),
  loras: z.array(z.object({ name: z.string(), weight: z.number() })),
  encodings: z.array(described),
  empty: z.int().optional(),
  blank: z.int().optional(),
  prompts: z.array(
    z.object({
      prompt: z.string(),
      negativePrompt: z.string(),
      parts: z.array(z.object({ weight: z.number(), texts: z.array(text).min(1) })).min(1),
      negative: z.array(text).min(1).optional(),
    }),
  ),
})

/** Writes a conditioning: `encoding.<i>.embeds`, `encoding.<i>.pooled`, and the structure as JSON bytes in `conditioning`. */
export async function saveConditioning(conditioning: Conditioning, path: string, options: { signal?: AbortSignal }): Promise<void> {
  const { syntax, steps, negativeFrom, loras, empty, blank } = conditioning
  const encodings = conditioning.encodings()
  const texts = (list: ConditioningInit['prompts'][number]['negative'] & object): z.output<typeof text>[] =>
    list.map(({ until, encoding, ...rest }) => ({
      ...rest,
      until: Number.isFinite(until) ? until : null,
      encoding: encodings.indexOf(encoding),
    }))
  const plan: z.output<typeof structure> = {
    version: 1,
    syntax,
    steps,
    negativeFrom,
    loras: [...loras],
    encodings: encodings.map(({ chunks, cut, pooled, zeros }) => ({
      chunks: chunks.map(({ tokens }) => ({ tokens: [...tokens] })),
      cut,
      pooled: pooled !== undefined,
      zeros,
    })),
    empty: empty && encodings.indexOf(empty),
    blank: blank && encodings.indexOf(blank),
    prompts: conditioning.prompts.map(({ prompt, negativePrompt, parts, negative }) => ({
      prompt,
      negativePrompt,
      parts: parts.map((part) => ({ weight: part.weight, texts: texts(part.texts) })),
      negative: negative && texts(negative),
    })),
  }
  const bytes = new TextEncoder().encode(JSON.stringify(plan))
  using json = Tensor.from(bytes, [bytes.length])
  const tensors: Record<string, Tensor> = { conditioning: json }
  for (const [i, { embeds, pooled }] of encodings.entries()) {
    tensors[`encoding.${i}.embeds`] = embeds
    if (pooled !== undefined) {
      tensors[`encoding.${i}.pooled`] = pooled
    }
  }
  await mkdir(dirname(resolve(path)), { recursive: true })
  await Tensor.saveSafetensors(path, tensors, options)
}

/** Reads what `saveConditioning` wrote; throws `WeightsError` for any other file. */
export async function loadConditioning(path: string, options: { signal?: AbortSignal }): Promise<ConditioningInit> {
  const tensors = await Tensor.loadSafetensors(path, options)
  try {
    return assemble(tensors, path)
  } catch (error) {
    for (const tensor of Object.values(tensors)) {
      tensor.dispose()
    }
    throw error
  }
}

function assemble(tensors: Record<string, Tensor>, path: string): ConditioningInit {
  const wrong = (what: string): WeightsError =>
    new WeightsError(`Expected a file written by Conditioning.save for ${path} but received ${what}`)
  const { conditioning: json } = tensors
  if (json === undefined) {
    throw wrong('one without the tensor conditioning')
  }
  const plan = structure.safeParse(parseJson(json))
  json.dispose()
  if (!plan.success) {
    throw wrong(`one whose structure has ${plan.error.issues[0]?.message ?? 'errors'}`)
  }
  const { prompts, encodings, empty, blank, ...rest } = plan.data
  const loaded = encodings.map(({ pooled, ...known }, i): TextEncoding => {
    const [embeds, pool] = [tensors[`encoding.${i}.embeds`], tensors[`encoding.${i}.pooled`]]
    if (embeds?.shape.length !== 3 || (pooled && pool === undefined)) {
      throw wrong(`one without encoding ${i}`)
    }
    return { ...known, embeds, pooled: pool }
  })
  const encodingAt = (i: number): TextEncoding => {
    const encoding = loaded[i]
    if (encoding === undefined) {
      throw wrong(`one without encoding ${i}`)
    }
    return encoding
  }
  const texts = (list: z.output<typeof text>[]): { until: number; text: string; encoding: TextEncoding }[] =>
    list.map(({ until, encoding, ...entry }) => ({ ...entry, until: until ?? Number.POSITIVE_INFINITY, encoding: encodingAt(encoding) }))
  const init: ConditioningInit = {
    ...rest,
    empty: empty === undefined ? undefined : encodingAt(empty),
    blank: blank === undefined ? undefined : encodingAt(blank),
    prompts: prompts.map(({ parts, negative, ...prompt }) => ({
      ...prompt,
      parts: parts.map((part) => ({ weight: part.weight, texts: texts(part.texts) })),
      negative: negative && texts(negative),
    })),
  }
  return init
}

function parseJson(bytes: Tensor): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes.toArray<Uint8Array>()))
  } catch {
    return undefined
  }
}
