import { AutoPipelineForImage2Image, type TaskPipeline } from '../pipelines/auto.ts'
import type { ImageToImageXLOptions } from '../pipelines/generate-options-xl.ts'
import type { DiffusionPipeline } from '../pipelines/pipeline.ts'

/** A pipeline for image to image on the components of any pipeline, for the time of `work`. */
export async function withImageToImage<T>(
  pipe: DiffusionPipeline,
  work: (pipe: TaskPipeline<ImageToImageXLOptions>) => Promise<T>,
): Promise<T> {
  const own = AutoPipelineForImage2Image.fromPipe(pipe)
  try {
    return await work(own)
  } finally {
    own.dispose()
  }
}
