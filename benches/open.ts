import { copyFile, cp, mkdir, readFile, rename, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTextModelWithProjection,
  type FromConfigOptions,
  UNet2DConditionModel,
  type WeightsDType,
} from 'node-diffusion'
import { native } from '../ts/native.ts'

/** Published architectures whose configs lie in benches/configs. */
export const ARCHITECTURES: readonly string[] = ['sd15', 'sd21', 'sdxl']

/** Where networks come from: a folder with weights, or a published architecture with random ones. */
export type Origin = { model: string; architecture: string | undefined; dtype: WeightsDType }

/** Random weights cost as much to run as trained ones; this seed is as good as any. */
const SEED = 1

function published(architecture: string, component: string): URL {
  return new URL(`configs/${architecture}/${component}/config.json`, import.meta.url)
}

/** A component's published `config.json`. */
export async function readPublished(architecture: string, component: string): Promise<Record<string, unknown>> {
  const text = await readFile(published(architecture, component), 'utf8')
  return JSON.parse(text) as Record<string, unknown>
}

interface Loadable<T> {
  fromPretrained(dir: string, options: { subfolder: string; dtype: WeightsDType }): Promise<T>
  fromConfig(config: Record<string, unknown>, options: FromConfigOptions): Promise<T>
}

async function open<T>(kind: Loadable<T>, subfolder: string, { model, architecture, dtype }: Origin): Promise<T> {
  return architecture === undefined
    ? kind.fromPretrained(model, { subfolder, dtype })
    : kind.fromConfig(await readPublished(architecture, subfolder), { seed: SEED, dtype })
}

export const openUnet = (origin: Origin): Promise<UNet2DConditionModel> => open(UNet2DConditionModel, 'unet', origin)
export const openVae = (origin: Origin): Promise<AutoencoderKL> => open(AutoencoderKL, 'vae', origin)
export const openTextEncoder = (origin: Origin): Promise<CLIPTextModel> => open(CLIPTextModel, 'text_encoder', origin)
export const openTextEncoder2 = (origin: Origin): Promise<CLIPTextModelWithProjection> =>
  open(CLIPTextModelWithProjection, 'text_encoder_2', origin)

/** The built-in model, whose tokenizer's ids every vocabulary of CLIP has, and whose noise schedule is that of Stable Diffusion. */
const builtIn = new URL('../models/shapes/', import.meta.url)

/**
 * A pipeline's folder of f16 safetensors files with an architecture's random weights in the published shapes, written once into the system's folder for
 * temporary files.
 */
export async function randomCheckpoint(architecture: string): Promise<string> {
  const folder = join(tmpdir(), 'node-diffusion-bench', `${architecture}-f16`)
  await mkdir(folder, { recursive: true })
  for (const part of ['model_index.json', 'scheduler', 'tokenizer']) {
    await cp(new URL(part, builtIn), join(folder, part), { recursive: true })
  }
  for (const component of ['unet', 'vae', 'text_encoder']) {
    const file = component === 'text_encoder' ? 'model.safetensors' : 'diffusion_pytorch_model.safetensors'
    const path = join(folder, component, file)
    if (
      await stat(path).then(
        () => false,
        () => true,
      )
    ) {
      await mkdir(join(folder, component), { recursive: true })
      const config = JSON.stringify(await readPublished(architecture, component))
      // As it was published: Python's readers tell 1.0 from 1.
      await copyFile(published(architecture, component), join(folder, component, 'config.json'))
      await native.saveRandomWeights(component, config, SEED, `${path}.part`, new native.NativeCancelToken())
      await rename(`${path}.part`, path)
    }
  }
  return folder
}
