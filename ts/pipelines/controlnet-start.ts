import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { type ControlNetComponent, controlConditions, controlledSize, netsOf } from './control-call.ts'
import type { ControlNetImageXLOptions, ControlNetInpaintXLOptions, ControlNetTextXLOptions } from './controlnet-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Prepared } from './prepared.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** What a pipeline with ControlNets brings, of either family. */
interface ControlledPipeline {
  components: ControlNetComponent
  unet: UNet2DConditionModel
  vae: AutoencoderKL
  vaeScaleFactor: number
}

/** The start of text to image that follows `image`, at its size unless the call has one. */
export async function prepareControlledText(call: Call<ControlNetTextXLOptions>, pipe: ControlledPipeline): Promise<Prepared> {
  const { options, signal } = call
  const { components, vaeScaleFactor: multiple } = pipe
  const control = controlConditions(components, options.image, options)
  const nets = netsOf(components.controlnet).length
  const size = await controlledSize(options.image, { ...options, nets, name: 'image', multiple, signal })
  return { ...prepareTextToImage({ ...call, options: { ...options, ...size } }, pipe), control }
}

/** The start of image to image that follows `controlImage`. */
export async function prepareControlledImage(
  call: Call<ControlNetImageXLOptions>,
  pipe: ControlledPipeline,
  scope: Scope,
): Promise<Prepared> {
  const control = controlConditions(pipe.components, call.options.controlImage, call.options, 'controlImage')
  return { ...(await prepareImageToImage(call, pipe, scope)), control }
}

/** The start of inpainting that follows `controlImage`. */
export async function prepareControlledInpaint(
  call: Call<ControlNetInpaintXLOptions>,
  pipe: ControlledPipeline,
  scope: Scope,
): Promise<Prepared> {
  const control = controlConditions(pipe.components, call.options.controlImage, call.options, 'controlImage')
  return { ...(await prepareInpaint(call, pipe, scope)), control }
}
