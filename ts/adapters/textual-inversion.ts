import { abortable } from '../abort.ts'
import { checkOptions, checkString } from '../checks.ts'
import { expected, WeightsError } from '../errors.ts'
import type { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { native } from '../native.ts'
import { Tensor, wrapTensor } from '../tensor.ts'
import { type AdapterFileOptions, findAdapterFile } from './adapter-file.ts'

/** A textual inversion: embeddings for a token and, if it has several, for `token_1`, `token_2`, ... */
export interface Inversion {
  /** The token that prompts use. */
  readonly token: string
  /** All tokens, one for each vector. */
  readonly tokens: readonly string[]
  /** (vectors, width) for the first text encoder. */
  readonly first?: Tensor
  /** (vectors, width) for SDXL's second text encoder. */
  readonly second?: Tensor
  /** Path of its file; undefined for tensors. */
  readonly source?: string
  /** The adapter that it came with, and goes with. */
  readonly adapter?: string
}

/** A file or folder, a table of vectors (n, width) or one vector, or tensors by the keys of a file. */
export type InversionSource = string | Tensor | Readonly<Record<string, Tensor>>

/** Where a textual inversion is (`weightName` defaults to `learned_embeds.safetensors` or `.bin`) and how it is called. */
export interface InversionOptions extends AdapterFileOptions {
  /** What prompts call it; the same file can be loaded under several names. @default the name in the file */
  token?: string
  /** Factor on all vectors. @default 1 */
  weight?: number
}

/** Vectors for the encoders, and the name that the file has for them. */
interface Vectors {
  name?: string
  first?: Tensor
  second?: Tensor
  source?: string
}

const FILE_NAMES = ['learned_embeds.safetensors', 'learned_embeds.bin']

/**
 * Reads a textual inversion: the web UI's `.pt` (`string_to_param`), diffusers' `.bin` and `.safetensors` with one entry, `emb_params`, and SDXL's
 * `clip_l` with `clip_g`. Throws `WeightsError` for a file of another kind. Source: diffusers loaders/textual_inversion.py.
 */
export async function readInversion(source: InversionSource, options: InversionOptions = {}): Promise<Inversion> {
  const { token, weight = 1, ...place } = checkOptions('options', options)
  if (typeof weight !== 'number' || !Number.isFinite(weight)) {
    throw expected('a finite number', 'weight', weight)
  }
  const origin = typeof source === 'string' ? source : 'tensors'
  const found: Vectors =
    source instanceof Tensor ? { first: source } : typeof source === 'string' ? await readFile(source, place) : pick(source, origin)
  const name = token ?? found.name
  if (name === undefined) {
    throw expected('a name', 'token', token)
  }
  checkToken(name)
  const table = (tensor: Tensor | undefined): Tensor | undefined => {
    if (tensor !== undefined && (tensor.shape.length < 1 || tensor.shape.length > 2 || tensor.shape[0] === 0)) {
      throw new WeightsError(`Expected embeddings of shape (vectors, width) in ${origin} but received shape (${tensor.shape.join(', ')})`)
    }
    const rows = tensor?.shape.length === 1 ? tensor.unsqueeze(0) : tensor
    return rows === undefined ? undefined : rows.to('f32').mul(weight)
  }
  const [first, second] = [table(found.first), table(found.second)]
  const vectors = (first ?? second)?.shape[0] ?? 0
  if (first !== undefined && second !== undefined && second.shape[0] !== vectors) {
    throw new WeightsError(`Expected as many vectors in clip_g as the ${vectors} in clip_l of ${origin} but received ${second.shape[0]}`)
  }
  const tokens = Array.from({ length: vectors }, (_, i) => (i === 0 ? name : `${name}_${i}`))
  return { token: name, tokens, first, second, ...(found.source !== undefined && { source: found.source }) }
}

/** A token as prompts can contain it. */
function checkToken(token: unknown): string {
  if (checkString('token', token).trim() === '') {
    throw expected('a text that is not empty', 'token', token)
  }
  return token as string
}

async function readFile(source: string, options: AdapterFileOptions): Promise<Vectors> {
  const path = await findAdapterFile(source, FILE_NAMES, options)
  const { names, tensors, metadata } = await abortable(options.signal, (token) => native.readAdapterTensors(path, token))
  const named = Object.fromEntries(tensors.map((tensor, i) => [names[i] ?? '', wrapTensor(tensor)]))
  return { ...pick(named, path, (JSON.parse(metadata) as Record<string, string>).name), source: path }
}

/** Finds the vectors among the tensors of a file. */
function pick(tensors: Readonly<Record<string, Tensor>>, origin: string, name?: string): Vectors {
  const { clip_l, clip_g } = tensors
  if (clip_l !== undefined || clip_g !== undefined) {
    return { first: clip_l, second: clip_g }
  }
  const keys = Object.keys(tensors)
  const param = keys.find((key) => /^string_to_param\b/.test(key))
  if (param !== undefined) {
    return { name, first: tensors[param] }
  }
  const [only] = keys
  if (keys.length === 1 && only !== undefined) {
    return { name: only, first: tensors[only] }
  }
  const seen = keys.slice(0, 5).join(', ')
  throw new WeightsError(
    `Expected string_to_param, clip_l and clip_g, or a single tensor in ${origin} but received ${keys.length}: ${seen}`,
  )
}

/** Throws unless a tokenizer lacks all tokens and an encoder takes vectors of this width. */
export function checkInversion(
  { tokens, token }: Inversion,
  vectors: Tensor,
  { tokenizer, textEncoder }: { tokenizer: CLIPTokenizer; textEncoder: { config: { hidden_size: number } } },
): void {
  const taken = [...tokens, `${token}_1`].find((name) => tokenizer.has(name))
  if (taken !== undefined) {
    throw expected('a token that is not in the vocabulary yet (choose another with the option token)', 'token', taken)
  }
  const width = textEncoder.config.hidden_size
  if (vectors.shape[1] !== width) {
    throw new WeightsError(`Expected vectors of width ${width} for the textual inversion '${token}' but received ${vectors.shape[1]}`)
  }
}

type Pair<E> = { tokenizer: CLIPTokenizer; textEncoder: E }

/** A tokenizer and encoder with the tokens of inversions; the given ones if there are none for this encoder. */
export function withInversions<E extends CLIPTextModel | CLIPTextModelWithProjection>(
  pair: Pair<E>,
  inversions: readonly Inversion[],
  which: 'first' | 'second',
  keep: <T extends E>(model: T) => T,
): Pair<E> {
  const own = inversions.flatMap(({ tokens, [which]: vectors }) => (vectors === undefined ? [] : [{ tokens, vectors }]))
  if (own.length === 0) {
    return pair
  }
  const tokenizer = pair.tokenizer.clone()
  const tokens = own.flatMap((inversion) => inversion.tokens)
  tokenizer.addTokens(tokens)
  using rows = Tensor.cat(
    own.map(({ vectors }) => vectors),
    0,
  )
  return { tokenizer, textEncoder: keep(pair.textEncoder.withTokenEmbeddings(tokenizer.convertTokensToIds(tokens), rows) as E) }
}
