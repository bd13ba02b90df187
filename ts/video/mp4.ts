import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ConfigError } from '../errors.ts'
import type { Image } from '../image/image.ts'

/**
 * Encodes frames as H.264 in an .mp4 file with the program ffmpeg; odd sizes get a black line.
 *
 * Throws `ConfigError` if ffmpeg is not found or fails.
 */
export async function writeMp4(
  frames: readonly Image[],
  path: string,
  { fps, crf, ffmpeg }: { fps: number; crf: number; ffmpeg: string },
): Promise<void> {
  const [first] = frames
  const size = `${first?.width}x${first?.height}`
  const input = ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-r', String(fps), '-i', 'pipe:0']
  const even = 'pad=ceil(iw/2)*2:ceil(ih/2)*2'
  const output = [
    '-an',
    '-c:v',
    'libx264',
    '-crf',
    String(crf),
    '-vf',
    even,
    '-pix_fmt',
    'yuv420p',
    '-movflags',
    '+faststart',
    '-f',
    'mp4',
    path,
  ]
  const child = spawn(ffmpeg, ['-y', '-loglevel', 'error', ...input, ...output], { stdio: ['pipe', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000)
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const early = (): void => {} // of an ffmpeg that stops before the last frame, its exit code tells
  child.stdin.on('error', early)
  const pixels = Readable.from(frames.map(({ data }) => data))
  const fed = pipeline(pixels, child.stdin).catch(early)
  const code = await ended.catch((cause: unknown) => {
    throw new ConfigError(
      `Expected the program ffmpeg on the PATH, for .mp4 files, but could not run ${JSON.stringify(ffmpeg)}: install it, or save as .gif, .webp or .png`,
      { cause },
    )
  })
  await fed
  if (code !== 0) {
    throw new ConfigError(`Expected ffmpeg to write ${JSON.stringify(path)} but it ended with code ${code}: ${complaint.trim()}`)
  }
}
