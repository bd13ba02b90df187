import type { SingleBar } from 'cli-progress'
import { note } from './exit.ts'

/** How loading and denoising are shown: bars on a terminal, lines elsewhere, nothing with `--quiet`. */
export interface Progress {
  /** Bytes of all files that came from the hub so far. */
  download(loaded: number, total: number): void
  /** Bytes of all components read so far. */
  load(loaded: number, total: number): void
  /** A step is done. */
  step(step: number, total: number, etaMs: number): void
  /** A line that is no progress, shown between bars. */
  line(text: string): void
  /** Takes bars off the screen; more may follow. */
  stop(): void
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)
const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`

class Silent implements Progress {
  download(): void {}
  load(): void {}
  step(): void {}
  line(): void {}
  stop(): void {}
}

class Lines implements Progress {
  #tenth = -1
  #percent = -1
  #loading = false

  download(loaded: number, total: number): void {
    const percent = Math.floor((loaded / total) * 10) * 10
    if (percent !== this.#percent) {
      this.#percent = percent
      note(`downloading ${megabytes(total)} MB: ${percent} %`)
    }
  }

  load(): void {
    if (!this.#loading) {
      this.#loading = true
      note('loading the model')
    }
  }

  step(step: number, total: number, etaMs: number): void {
    const tenth = Math.floor((step / total) * 10)
    if (tenth !== this.#tenth || step === total) {
      this.#tenth = tenth
      note(`step ${step}/${total}${step === total ? '' : `, ${seconds(etaMs)} left`}`)
    }
  }

  line(text: string): void {
    note(text)
  }

  stop(): void {}
}

class Bars implements Progress {
  readonly #makeBar: (format: string) => SingleBar
  #bar: SingleBar | undefined
  #kind = ''

  constructor(makeBar: (format: string) => SingleBar) {
    this.#makeBar = makeBar
  }

  #show(kind: string, format: string, value: number, total: number, payload: Record<string, string>): void {
    if (this.#kind !== kind) {
      this.stop()
      this.#kind = kind
      this.#bar = this.#makeBar(format)
      this.#bar.start(total, value, payload)
    }
    this.#bar?.setTotal(total)
    this.#bar?.update(value, payload)
  }

  download(loaded: number, total: number): void {
    const sizes = { done: megabytes(loaded), all: megabytes(total) }
    this.#show('download', 'Download  {bar} {done}/{all} MB, {eta} s left', loaded, total, sizes)
  }

  load(loaded: number, total: number): void {
    this.#show('load', 'Loading   {bar} {done}/{all} MB', loaded, total, { done: megabytes(loaded), all: megabytes(total) })
  }

  step(step: number, total: number, etaMs: number): void {
    this.#show('step', 'Denoising {bar} {value}/{total} steps, {left} left', step, total, { left: seconds(etaMs) })
  }

  line(text: string): void {
    this.stop()
    note(text)
  }

  stop(): void {
    this.#bar?.stop()
    this.#bar = undefined
    this.#kind = ''
  }
}

/** Makes the display that fits where stderr goes. */
export async function createProgress(quiet: boolean): Promise<Progress> {
  if (quiet) {
    return new Silent()
  }
  if (!process.stderr.isTTY) {
    return new Lines()
  }
  const { default: cliProgress } = await import('cli-progress')
  const look = {
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    hideCursor: true,
    gracefulExit: false,
    fps: 20,
    stream: process.stderr,
  }
  return new Bars((format) => new cliProgress.SingleBar({ ...look, format }, cliProgress.Presets.legacy))
}
