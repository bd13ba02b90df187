/**
 * Threads: a UNet step with 1 and 2 threads, two runs at once against one after the other, and how long the event loop waits meanwhile:
 * `npm run bench -- threads [--size 512 | --model shapes] [--runs 3]`.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { Generator } from 'node-diffusion'
import { native } from '../../ts/native.ts'
import { markdown } from '../child.ts'
import { conditions, measure } from '../measure.ts'
import { openUnet } from '../open.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string' },
    model: { type: 'string' },
    runs: { type: 'string', default: '3' },
    most: { type: 'string', default: '2' },
  },
})
const isBuiltIn = values.model !== undefined
const size = Number(values.size ?? (isBuiltIn ? 128 : 512))
const settings = { runs: Number(values.runs), profile: false }

await using unet = await openUnet({ model: values.model ?? '', architecture: isBuiltIn ? undefined : 'sd15', dtype: 'f32' })
const { in_channels: channels, cross_attention_dim: width } = unet.config
const inputs = [1, 2].map((seed) => ({
  sample: new Generator(seed).randn([2, channels, size / 8, size / 8]),
  encoderHiddenStates: new Generator(10 + seed).randn([2, 77, Number(width)]),
}))
const step = async (i: 0 | 1): Promise<void> => {
  const { sample, encoderHiddenStates } = inputs[i] ?? {}
  if (sample !== undefined && encoderHiddenStates !== undefined) {
    ;(await unet.forward(sample, 500, { encoderHiddenStates })).sample.dispose()
  }
}

const rows: (string | number)[][] = []
const seconds = (ms: number): string => (ms / 1e3).toFixed(3)
for (let threads = 1; threads <= Number(values.most); threads += 1) {
  native.setThreads(threads)
  const { minMs, cpuMs } = await measure('', '', settings, () => step(0))
  rows.push([`one step, ${threads} thread${threads === 1 ? '' : 's'}`, seconds(minMs), seconds(cpuMs)])
}
const after = await measure('', '', settings, async () => {
  await step(0)
  await step(1)
})
rows.push(['two steps, one after the other', seconds(after.minMs), seconds(after.cpuMs)])
const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
const together = await measure('', '', settings, () => Promise.all([step(0), step(1)]))
delay.disable()
rows.push(['two steps asked for at once', seconds(together.minMs), seconds(together.cpuMs)])

const where = conditions()
console.log(`${where.processor}, ${where.kernels}, commit ${where.commit}, UNet of ${values.model ?? 'sd15'} at ${size} px, f32`)
console.log(markdown([['', 'best s', 'CPU s'], ...rows]))
const ms = (nanoseconds: number): string => (nanoseconds / 1e6).toFixed(1)
console.log(
  `event loop meanwhile: median wait ${ms(delay.percentile(50))} ms, 99 % ${ms(delay.percentile(99))} ms, longest ${ms(delay.max)} ms`,
)
