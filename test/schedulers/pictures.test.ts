import test from 'ava'
import { StableDiffusionPipeline, schedulers } from '../../ts/index.ts'
import { missing } from './drawing.ts'

const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())

/** Classes that cannot draw with this model, and why. */
const others: Readonly<Record<string, string>> = {
  DDIMInverseScheduler: 'goes from a picture to noise',
  DPMSolverMultistepInverseScheduler: 'goes from a picture to noise',
  UnCLIPScheduler: 'the cosine noise of priors is the only one that it knows',
  EDMEulerScheduler: 'its networks are preconditioned by sigma_data',
  EDMDPMSolverMultistepScheduler: 'its networks are preconditioned by sigma_data',
}

for (const { className, names: own } of schedulers.list()) {
  if (className in others) {
    continue
  }
  for (const name of own.length > 0 ? own.map((entry) => entry.name) : [className]) {
    test.serial(`${name} draws what is asked for in 20 steps`, async (t) => {
      // CFG++ scales lie between 0 and about 2: arXiv:2406.08070 section 4.
      t.is(await missing(pipe, name, name.includes('CFG++') ? { guidanceScale: 1 } : {}), '')
    })
  }
}

test('every class is drawn with or excepted', (t) => {
  const known = new Set(schedulers.list().map(({ className }) => className))
  t.deepEqual(
    Object.keys(others).filter((className) => !known.has(className)),
    [],
  )
})
