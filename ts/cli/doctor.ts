import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { native as Native } from '../native.ts'
import { bytesText } from '../quantities.ts'
import { exitCode, print, printJson } from './exit.ts'
import { table } from './table.ts'
import { packageVersion } from './version.ts'

type Report = Record<string, unknown>

/** The package's root: one level above dist/, two above ts/cli/. */
function root(): string {
  const places = ['..', '../..'].map((place) => fileURLToPath(new URL(place, import.meta.url)).replace(/[\\/]$/, ''))
  return places.find((place) => existsSync(`${place}/package.json`)) ?? '.'
}

/** Where the loader looks for the addon, in its order, and what is there. */
function triedBinaries(): string[] {
  const folder = root()
  const forced = process.env.NAPI_RS_NATIVE_LIBRARY_PATH
  const built = readdirSync(folder).filter((name) => name.endsWith('.node'))
  return [
    ...(forced === undefined ? [] : [`${forced} (NAPI_RS_NATIVE_LIBRARY_PATH): ${existsSync(forced) ? 'found' : 'no such file'}`]),
    ...(built.length === 0
      ? [`${folder}/node-diffusion.*.node: none`]
      : built.map((name) => `${folder}/${name}: found, ${bytesText(statSync(`${folder}/${name}`).size)}`)),
    `npm package @node-diffusion/native-${process.platform}-${process.arch}*`,
  ]
}

/** Whether large buffers get pages of 2 MiB, which Linux decides. */
function hugePages(): string {
  try {
    const text = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8')
    const choice = /\[(\w+)\]/.exec(text)?.[1] ?? 'unknown'
    return choice === 'never' ? 'never: steps are slower, see /sys/kernel/mm/transparent_hugepage/enabled' : choice
  } catch {
    return 'left to the system'
  }
}

/** What all threads reach in this moment; 0 stands for instructions that the processor lacks. */
async function speed({ machinePeaks, NativeCancelToken }: typeof Native): Promise<string> {
  const { f32, bf16, int8, read } = await machinePeaks(new NativeCancelToken())
  const rates = [
    `f32 ${f32.toFixed(0)} GFLOP/s`,
    bf16 === 0 ? 'no bf16 products' : `bf16 ${bf16.toFixed(0)} GFLOP/s`,
    int8 === 0 ? 'no int8 products' : `int8 ${int8.toFixed(0)} GOP/s`,
    `memory ${read.toFixed(0)} GB/s`,
  ]
  return rates.join(', ')
}

async function nativeReport(): Promise<Report> {
  try {
    const { native } = await import('../native.ts')
    const { version, target, level, bf16, cpuFeatures, threads, cuda } = native.doctor()
    return {
      native: `loaded, ${version} for ${target}`,
      kernels: level,
      bf16Layers: `multiply ${bf16}`,
      cpuFeatures,
      threads,
      speed: await speed(native),
      hugePages: hugePages(),
      cuda: cuda ? 'in this build' : 'not in this build',
    }
  } catch (error) {
    return { native: 'NOT LOADED', problem: error instanceof Error ? error.message : String(error) }
  }
}

async function sharpReport(): Promise<string> {
  try {
    const { codec } = await import('../image/codec.ts')
    return `loaded, ${codec().versions.sharp} with libvips ${codec().versions.vips}`
  } catch (error) {
    return `NOT LOADED: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`
  }
}

/** `doctor`: what works here and what was tried; exit code 1 if the addon does not load. */
export async function doctorCommand(flags: { json?: boolean }): Promise<void> {
  const native = await nativeReport()
  const model = `${root()}/models/shapes/model_index.json`
  const report: Report = {
    'node-diffusion': packageVersion(),
    node: process.versions.node,
    system: `${platform()} ${release()} ${arch()}`,
    processor: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} logical cores`,
    memory: bytesText(totalmem()),
    ...native,
    tried: triedBinaries(),
    forcedKernels: process.env.NODE_DIFFUSION_CPU ?? 'none (NODE_DIFFUSION_CPU is not set)',
    sharp: await sharpReport(),
    builtInModel: existsSync(model) ? 'present' : `missing: ${model}`,
  }
  if (flags.json) {
    printJson(report)
  } else {
    const rows = Object.entries(report).flatMap(([name, value]) => {
      const lines = name === 'tried' ? (value as string[]) : [Array.isArray(value) ? value.join(' ') : String(value)]
      return lines.map((line, i): [string, string] => [i === 0 ? name : '', line])
    })
    for (const line of table(rows)) {
      print(line)
    }
  }
  if ('problem' in native) {
    process.exitCode = exitCode.failure
  }
}
