import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expected } from '../errors.ts'
import { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import { IPAdapter, type IPAdapterLoadOptions } from '../models/ip-adapter.ts'
import type { Tensor } from '../tensor.ts'

/** An IP-Adapter: a file, a folder or an id of the hub, a loaded one (which stays the caller's to dispose), or tensors by checkpoint key. */
export type IPAdapterSource = string | IPAdapter | Readonly<Record<string, Tensor>>

/** Options of a pipeline's `loadIpAdapter`. */
export type LoadIpAdapterOptions = Omit<IPAdapterLoadOptions, 'weightName'> & {
  /** File of the folder, such as `ip-adapter_sd15.safetensors`; one for all, or one for each adapter. */
  weightName?: string | readonly string[]
  /** Folder of the image encoder, beside the weights or from the root if it has a `/`; null loads none. @default 'image_encoder' */
  imageEncoderFolder?: string | null
}

/** The adapter that a source means; the caller owns it unless it is the source itself. */
export async function loadOne(source: IPAdapterSource, options: IPAdapterLoadOptions): Promise<IPAdapter> {
  if (source instanceof IPAdapter) {
    return source
  }
  if (typeof source === 'string') {
    return IPAdapter.fromPretrained(source, options)
  }
  const { dtype, device, signal, onProgress } = options
  return IPAdapter.fromWeights(source as Record<string, Tensor>, { dtype, device, signal, onProgress })
}

/** The image encoder that lies beside an adapter's weights. */
export async function loadEncoder(
  source: string,
  folder: string,
  { subfolder, ...rest }: Omit<IPAdapterLoadOptions, 'weightName'>,
): Promise<CLIPVisionModelWithProjection> {
  if (await isOf(source, 'isFile')) {
    const beside = join(dirname(source), folder)
    if (!(await isOf(beside, 'isDirectory'))) {
      const what = `a folder with the image encoder beside ${source}, null for none, or a pipeline that has the component imageEncoder,`
      throw expected(what, 'imageEncoderFolder', folder)
    }
    return CLIPVisionModelWithProjection.fromPretrained(beside, rest)
  }
  const place = folder.includes('/') || subfolder === undefined ? folder : `${subfolder}/${folder}`
  return CLIPVisionModelWithProjection.fromPretrained(source, { ...rest, subfolder: place })
}

async function isOf(path: string, kind: 'isFile' | 'isDirectory'): Promise<boolean> {
  const entry = await stat(path).catch(() => undefined)
  return entry?.[kind]() === true
}
