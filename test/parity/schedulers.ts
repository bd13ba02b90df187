import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { schedulers, Tensor } from '../../ts/index.ts'
import { betas, swaps } from './schedulers-config.ts'
import { forward, type LoopCase, loop, type NoiseCase } from './schedulers-loop.ts'
import { type ParityResult, Tally } from './tally.ts'

/** Runs every case of a pack's `schedulers/` folder on the public scheduler classes. */
export async function paritySchedulers(packDir: string): Promise<ParityResult> {
  const folder = join(packDir, 'schedulers')
  const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(folder, name), 'utf8')) as T
  const tally = new Tally('schedulers')
  const known = new Set(schedulers.list().map(({ className }) => className))
  const ays = await read<Record<string, number[]>>('ays.json')
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.json')).sort()) {
    const name = file.replace('.json', '')
    if (name === 'ays') {
      continue
    }
    const tensors = await Tensor.loadSafetensors(join(folder, `${name}.safetensors`))
    if (name === 'betas') {
      await betas(tally, await read(file), tensors)
    } else if (name === 'swap') {
      await swaps(tally, await read(file), tensors, known)
    } else {
      const { cases, add_noise } = await read<{ cases?: LoopCase[]; add_noise?: NoiseCase[] }>(file)
      for (const item of cases ?? []) {
        await tally.run(`${name} ${item.name}`, async () => (known.has(name) ? loop(tally, item, tensors, ays) : 'no such scheduler'))
      }
      for (const item of add_noise ?? []) {
        await tally.run(`${name} ${item.name}`, async () => (known.has(name) ? forward(tally, name, item, tensors) : 'no such scheduler'))
      }
      if (cases === undefined) {
        await tally.run(name, async () => 'a file of another kind')
      }
    }
    for (const tensor of Object.values(tensors)) {
      tensor.dispose()
    }
  }
  return tally.result()
}
