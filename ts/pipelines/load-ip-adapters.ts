import { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import { IPAdapter, type IPAdapterLoadOptions } from '../models/ip-adapter.ts'
import type { Tensor } from '../tensor.ts'

/** An IP-Adapter: a folder or id of the hub, a loaded one (which stays the caller's to dispose), or tensors by checkpoint key. */
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
  const place = folder.includes('/') || subfolder === undefined ? folder : `${subfolder}/${folder}`
  return CLIPVisionModelWithProjection.fromPretrained(source, { ...rest, subfolder: place })
}
