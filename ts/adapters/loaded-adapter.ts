import type { AdapterComponent } from './adapter-weight.ts'
import type { LoraAdapter } from './lora-adapter.ts'
import type { LoraReport } from './lora-report.ts'

/** Name of a component that adapters change. */
export type AdapterComponentName = AdapterComponent

/** An adapter that a pipeline has, and what of it fits. */
export interface LoadedAdapter {
  readonly adapter: LoraAdapter
  readonly report: LoraReport
}
