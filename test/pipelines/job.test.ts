import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { PipelineEvent } from '../../ts/pipelines/events.ts'
import { Job } from '../../ts/pipelines/job.ts'

const decode = (elapsedMs: number): PipelineEvent<string> => ({ type: 'decode', elapsedMs })

test('a job is a promise of its result', async (t) => {
  t.is(await new Job<string>(async () => 'made'), 'made')
  const error = new Error('no')
  const failing = new Job<string>(async () => {
    throw error
  })
  t.is(await failing.catch((caught: unknown) => caught), error)
})

test('an iterator made right after the call sees every event and ends after done', async (t) => {
  const job = new Job<string>(async ({ emit }) => {
    emit(decode(1))
    await sleep(1)
    emit(decode(2))
    return 'made'
  })
  const seen: PipelineEvent<string>[] = []
  for await (const event of job) {
    seen.push(event)
  }
  t.deepEqual(seen, [decode(1), decode(2), { type: 'done', result: 'made' }])
})

test('two iterators and a listener each see all events', async (t) => {
  const job = new Job<string>(async ({ emit }) => {
    emit(decode(1))
    return 'made'
  })
  const types = async (): Promise<string[]> => {
    const found: string[] = []
    for await (const { type } of job) {
      found.push(type)
    }
    return found
  }
  const heard: string[] = []
  job.on(({ type }) => heard.push(type))
  t.deepEqual(await Promise.all([types(), types()]), [
    ['decode', 'done'],
    ['decode', 'done'],
  ])
  t.deepEqual(heard, ['decode', 'done'])
})

test('an iterator throws what the job rejects with, also without anybody awaiting the job', async (t) => {
  const job = new Job<string>(async ({ emit }) => {
    emit(decode(1))
    throw new RangeError('broken')
  })
  const seen: string[] = []
  await t.throwsAsync(
    async () => {
      for await (const { type } of job) {
        seen.push(type)
      }
    },
    { instanceOf: RangeError, message: 'broken' },
  )
  t.deepEqual(seen, ['decode'])
})

test('listeners that throw or reject disturb neither the run nor each other', async (t) => {
  const job = new Job<string>(async ({ emit }) => {
    emit(decode(1))
    return 'made'
  })
  let calls = 0
  job.on(() => {
    throw new Error('from a listener')
  })
  job.on(async () => {
    throw new Error('from an async listener')
  })
  const stop = job.on(() => {
    calls += 1
    stop()
  })
  t.is(await job, 'made')
  t.is(calls, 1)
})

test('an unread preview gives way to the next one', async (t) => {
  const preview = (step: number): PipelineEvent<string> => ({ type: 'preview', step, total: 3, images: [] })
  const job = new Job<string>(async ({ emit }) => {
    for (const step of [1, 2, 3]) {
      emit(preview(step))
      emit(decode(step))
    }
    return 'made'
  })
  const iterator = job[Symbol.asyncIterator]()
  await job
  const seen: PipelineEvent<string>[] = []
  for await (const event of iterator) {
    seen.push(event)
  }
  t.deepEqual(
    seen.map((event) => (event.type === 'preview' ? `preview ${event.step}` : event.type)),
    ['decode', 'decode', 'preview 3', 'decode', 'done'],
  )
})

test('the signal of a job follows the caller’s signal and cancel()', async (t) => {
  const outer = new AbortController()
  const wait = (job: Job<string>): Promise<unknown> =>
    new Promise((resolve) => job.signal.addEventListener('abort', () => resolve(job.signal.reason), { once: true }))
  const never = (): Promise<string> => new Promise(() => {})
  const first = new Job(never, { signal: outer.signal })
  const second = new Job(never)
  const reasons = Promise.all([wait(first), wait(second)])
  outer.abort('outer')
  second.cancel('enough')
  t.deepEqual(await reasons, ['outer', 'enough'])
})

test('wrong signals and listeners are refused', (t) => {
  const work = async (): Promise<string> => 'made'
  t.throws(() => new Job(work, { signal: true as never }), { code: 'ERR_INVALID_ARGUMENT', message: /for signal but received true/ })
  t.throws(() => new Job(work).on(7 as never), { code: 'ERR_INVALID_ARGUMENT', message: /for listener but received 7/ })
})
