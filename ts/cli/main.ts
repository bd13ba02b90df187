#!/usr/bin/env node
import { runCli } from './run.ts'

// A reader that closes its end, as `| head` does, has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

process.exitCode = await runCli(process.argv.slice(2))
