import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTextModelWithProjection,
  ControlNetModel,
  convertCheckpoint,
  Tensor,
  UNet2DConditionModel,
} from '../../ts/index.ts'
import { type ParityResult, Tally, Uncovered } from './tally.ts'

/** Tolerances of weights/README.md. */
const IMAGE = 1e-4
const TEXT = 2e-5

type Row = { file: string; config: string }
type Tensors = Record<string, Tensor>

/** Buffers and schedules of old checkpoints that diffusers does not keep. */
const DROPPED = /position_ids$|^betas$|^alphas_cumprod$|logit_scale$/

/** Runs the single-file cases of a pack: outputs of the loaded models, tensors after conversion to a folder, and back to a file. */
export async function parityWeightsCheckpoints(packDir: string): Promise<ParityResult> {
  const folder = join(packDir, 'weights', 'single_file')
  const rows = JSON.parse(await readFile(join(folder, 'single_file.json'), 'utf8')) as Row[]
  const goldens = await Tensor.loadSafetensors(join(folder, 'golden.safetensors'))
  const tally = new Tally('weights-checkpoints')
  for (const { file, config } of rows) {
    const path = join(packDir, 'weights', file)
    const configs = join(folder, '..', config)
    const found = await present(path, configs)
    const name = basename(file)
    await tally.run(`${name} outputs`, async () => {
      if (!found) {
        throw new Uncovered('not in this part of the pack')
      }
      await outputs({ tally, path, configs, goldens, key: name.endsWith('.ckpt') ? name : name.replace('.safetensors', '') })
      return undefined
    })
    await tally.run(`${name} tensors`, async () => {
      if (!found) {
        throw new Uncovered('not in this part of the pack')
      }
      await tensors({ tally, path, configs })
      return undefined
    })
  }
  return tally.result()
}

async function present(path: string, configs: string): Promise<boolean> {
  const isThere = (place: string): Promise<boolean> =>
    readFile(place).then(
      () => true,
      () => false,
    )
  return (await isThere(path)) && ((await isThere(join(configs, 'model_index.json'))) || (await isThere(join(configs, 'config.json'))))
}

type Case = { tally: Tally; path: string; configs: string }

async function outputs({ tally, path, configs, goldens, key }: Case & { goldens: Tensors; key: string }): Promise<void> {
  const options = { config: configs }
  if (key.startsWith('controlnet')) {
    await using net = await ControlNetModel.fromSingleFile(path, options)
    await using wanted = await ControlNetModel.fromPretrained(configs)
    const sample = Tensor.full([1, net.config.in_channels, 8, 8], 0.3)
    const image = Tensor.full([1, 3, 64, 64], 0.6)
    const call = { encoderHiddenStates: Tensor.full([1, 7, Number(net.config.cross_attention_dim)], 0.1), controlnetCond: image }
    const [a, b] = [await net.forward(sample, 10, call), await wanted.forward(sample, 10, call)]
    tally.near('mid', a.midBlockResSample, b.midBlockResSample, 1e-7)
    return
  }
  await using vae = await AutoencoderKL.fromSingleFile(path, options)
  if (key.endsWith('vae-only')) {
    await using wanted = await AutoencoderKL.fromPretrained(configs)
    const z = Tensor.full([1, vae.config.latent_channels, 4, 4], 0.4)
    tally.near('vae_decode', (await vae.decode(z)).sample, (await wanted.decode(z)).sample, 1e-7)
    return
  }
  const golden = (field: string): Tensor | undefined => goldens[`${key}/${field}`]
  const input = (field: string): Tensor => {
    const tensor = golden(`in/${field}`)
    if (tensor === undefined) {
      throw new Error(`no golden in/${field} of ${key}`)
    }
    return tensor
  }
  tally.near('vae_decode', (await vae.decode(input('latents'))).sample, golden('out/vae_decode'), IMAGE)
  await using unet = await UNet2DConditionModel.fromSingleFile(path, options)
  const [textEmbeds, timeIds] = [golden('in/text_embeds'), golden('in/time_ids')]
  const call = { encoderHiddenStates: input('encoder_hidden_states'), addedCondKwargs: textEmbeds && { textEmbeds, timeIds } }
  const { sample } = await unet.forward(input('sample'), input('timestep'), call)
  tally.near('unet', sample, golden('out/unet'), IMAGE)
  await using text = await CLIPTextModel.fromSingleFile(path, options)
  const encoded = await text.forward(input('input_ids'))
  tally.near('text_encoder', encoded.lastHiddenState, golden('out/text_encoder.last_hidden_state'), TEXT)
  tally.near('pooled', encoded.poolerOutput, golden('out/text_encoder.pooled'), TEXT)
  if (golden('out/text_encoder_2.pooled') !== undefined) {
    await using second = await CLIPTextModelWithProjection.fromSingleFile(path, options)
    const { lastHiddenState, textEmbeds } = await second.forward(input('input_ids'))
    tally.near('text_encoder_2', lastHiddenState, golden('out/text_encoder_2.last_hidden_state'), TEXT)
    tally.near('projected', textEmbeds, golden('out/text_encoder_2.pooled'), TEXT)
  }
}

/** To a folder: exactly the tensors that diffusers has. Back to a file: exactly those of the file. */
async function tensors({ tally, path, configs }: Case): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'nd-convert-'))
  try {
    const [folder, file] = [join(scratch, 'folder'), join(scratch, 'back.safetensors')]
    await convertCheckpoint(path, folder, { config: configs })
    const exact = !path.endsWith('.ckpt')
    for (const part of ['unet', 'vae', 'text_encoder', 'text_encoder_2', '.']) {
      const [mine, wanted] = [await weightsIn(join(folder, part)), await weightsIn(join(configs, part))]
      if (mine !== undefined && wanted !== undefined) {
        compare(tally, part, mine, wanted, exact ? 1e-12 : 1e-3)
      }
    }
    await convertCheckpoint(folder, file)
    const plain = join(scratch, 'plain.safetensors')
    await convertCheckpoint(path, plain)
    compare(tally, 'back', await Tensor.loadSafetensors(file), await Tensor.loadSafetensors(plain), 1e-12)
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function weightsIn(folder: string): Promise<Tensors | undefined> {
  for (const name of ['diffusion_pytorch_model.safetensors', 'model.safetensors']) {
    const found = await Tensor.loadSafetensors(join(folder, name)).catch(() => undefined)
    if (found !== undefined) {
      return found
    }
  }
  return undefined
}

function compare(tally: Tally, what: string, mine: Tensors, wanted: Tensors, tolerance: number): void {
  const plain = (tensors: Tensors): Map<string, Tensor> =>
    new Map(
      Object.entries(tensors)
        .filter(([name]) => !DROPPED.test(name))
        .map(([name, tensor]) => [spelled(name), tensor]),
    )
  const [a, b] = [plain(mine), plain(wanted)]
  if (String([...a.keys()].sort()) !== String([...b.keys()].sort())) {
    const strange = [...a.keys()].filter((name) => !b.has(name)).concat([...b.keys()].filter((name) => !a.has(name)))
    throw new Error(`${what}: keys ${strange.slice(0, 4).join(', ')}`)
  }
  for (const [name, tensor] of a) {
    tally.near(`${what} ${name}`, tensor, b.get(name), tolerance)
  }
}

/** transformers 5 leaves `text_model.` out. */
function spelled(name: string): string {
  return /^(embeddings|encoder\.layers|final_layer_norm)\./.test(name) ? `text_model.${name}` : name
}
