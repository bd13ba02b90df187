/** A picture of yes and no: one byte a pixel, rows from top to bottom. */
export class Mask {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array

  constructor(width: number, height: number, of: (x: number, y: number) => boolean) {
    this.width = width
    this.height = height
    this.data = new Uint8Array(width * height)
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        this.data[i] = of(x, y) ? 1 : 0
      }
    }
  }

  /** Whether a pixel is set; outside none is. */
  has(x: number, y: number): boolean {
    return x >= 0 && y >= 0 && x < this.width && y < this.height && this.data[y * this.width + x] === 1
  }

  /** How many pixels are set. */
  get count(): number {
    return this.data.reduce((sum, value) => sum + value, 0)
  }

  /** Without the pixels that touch an unset one, `times` times. */
  shrunk(times = 1): Mask {
    const all = (x: number, y: number): boolean =>
      this.has(x, y) && this.has(x - 1, y) && this.has(x + 1, y) && this.has(x, y - 1) && this.has(x, y + 1)
    const once = new Mask(this.width, this.height, all)
    return times > 1 ? once.shrunk(times - 1) : once
  }

  /** The largest part whose pixels touch. */
  largest(): Mask {
    const part = new Int32Array(this.data.length)
    const sizes = [0]
    this.data.forEach((value, start) => {
      if (value === 1 && part[start] === 0) {
        sizes.push(this.#fill(part, start, sizes.length))
      }
    })
    const most = sizes.indexOf(Math.max(...sizes))
    return new Mask(this.width, this.height, (x, y) => most > 0 && part[y * this.width + x] === most)
  }

  /** Left, top, right and bottom of what is set; right and bottom lie behind it. */
  box(): [number, number, number, number] {
    const box: [number, number, number, number] = [this.width, this.height, 0, 0]
    this.data.forEach((value, i) => {
      if (value === 1) {
        const [x, y] = [i % this.width, Math.floor(i / this.width)]
        box[0] = Math.min(box[0], x)
        box[1] = Math.min(box[1], y)
        box[2] = Math.max(box[2], x + 1)
        box[3] = Math.max(box[3], y + 1)
      }
    })
    return box
  }

  /** What is set, cut to its box and resampled to `size` x `size`. */
  cut(size: number): Mask {
    const [left, top, right, bottom] = this.box()
    const at = (i: number, from: number, to: number): number => Math.floor(from + ((i + 0.5) / size) * (to - from))
    return new Mask(size, size, (x, y) => this.has(at(x, left, right), at(y, top, bottom)))
  }

  #fill(part: Int32Array, start: number, label: number): number {
    const queue = [start]
    part[start] = label
    for (const i of queue) {
      const x = i % this.width
      for (const next of [x > 0 ? i - 1 : -1, x + 1 < this.width ? i + 1 : -1, i - this.width, i + this.width]) {
        if (this.data[next] === 1 && part[next] === 0) {
          part[next] = label
          queue.push(next)
        }
      }
    }
    return queue.length
  }
}
