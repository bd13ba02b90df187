import { Command } from 'commander'
import type { EstimateFlags } from './estimate.ts'
import { addHubFlags } from './hub-flags.ts'
import { packageVersion } from './version.ts'

const examples = `
Examples:
  $ node-diffusion generate "a red circle on a blue background" --seed 7 --out circle.png
  $ node-diffusion generate "a star" --count 4 --grid --scheduler "DPM++ 2M Karras" --steps 20
  $ node-diffusion generate "a yellow circle" --image circle.png --strength 0.7
  $ node-diffusion generate "a green square" --image photo.png --mask mask.png
  $ node-diffusion generate --from circle.png --seed 8
  $ node-diffusion generate "a star" --hires-scale 2 --hires-strength 0.5
  $ node-diffusion preprocess canny photo.png
  $ node-diffusion download stable-diffusion-v1-5/stable-diffusion-v1-5 --variant fp16
  $ node-diffusion inspect ./stable-diffusion-v1-5
  $ node-diffusion estimate ./stable-diffusion-v1-5 --width 768 --height 768 --dtype f16
  $ node-diffusion convert model.ckpt ./model --dtype f16
  $ node-diffusion schedulers "Euler a" --steps 20
  $ node-diffusion tokens "a [red:blue:0.5] (circle:1.2)" --syntax a1111 --steps 20
`

/** Help, errors and exits go through exceptions, so that the program can be run and tested as a function. */
function quiet(command: Command): Command {
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .showSuggestionAfterError()
    .showHelpAfterError(false)
}

/** Everything but `generate`, whose flags come from the pipelines' own schemas and are only made when it is asked for. */
function addSmallCommands(program: Command): void {
  quiet(program.command('inspect'))
    .description('say what a folder or a file is: kind, dtype, size, memory needed; for a picture, what it was made with')
    .argument('<path>', 'model folder, weights file, config or picture')
    .option('--json', 'print one JSON object')
    .action(async (path: string, flags: { json?: boolean }) => (await import('./inspect.ts')).inspectCommand(path, flags))
  addHubFlags(quiet(program.command('download')))
    .description('bring a model of the hub into the cache that Python shares, and print its folder')
    .argument('<model>', 'org/name')
    .option('--variant <name>', 'weights variant, such as fp16')
    .option('--json', 'print one JSON object')
    .option('-q, --quiet', 'no progress')
    .action(async (model: string, flags: Record<string, unknown>) => (await import('./download.ts')).downloadCommand(model, flags))
  quiet(program.command('preprocess'))
    .description('make of a picture what a ControlNet follows: edges, scribbles, soft edges, depth, ...')
    .argument('<kind>', 'canny, scribble, softedge, tile, blur, shuffle, invert, or depth with --model')
    .argument('<picture>', 'picture to read')
    .option('-o, --out <file>', 'file to write (default: beside the picture, NAME-KIND.png)')
    .option('--resolution <pixels>', 'bring the shorter side to this first, both to multiples of 64')
    .option('--low <number>', 'canny: gradients up to this are no edge (default: 100)')
    .option('--high <number>', 'canny: gradients above this are an edge (default: 200)')
    .option('-m, --model <model>', 'depth: folder of a DPT model, or an id of the hub such as Intel/dpt-large')
    .action(async (kind: string, picture: string, flags: Record<string, unknown>) =>
      (await import('./preprocess.ts')).preprocessCommand(kind, picture, flags),
    )
  quiet(program.command('convert'))
    .description('write a model in another layout, format or dtype; without --dtype every bit is kept')
    .argument('<input>', 'model folder, or weights file of any format (safetensors, ckpt, pt, gguf)')
    .argument('<output>', 'a folder, or a single file ending in .safetensors')
    .option('--dtype <type>', 'f32, f16 or bf16')
    .option('--max-shard-size <size>', 'split weights above this size, such as 5GB', '10GB')
    .option('--variant <name>', 'write name.<variant>.safetensors')
    .option('--config <folder>', 'configs of a single file, where its keys do not tell')
    .option('--extract-ema', 'take the averaged weights of an old checkpoint')
    .option('--json', 'print one JSON object')
    .action(async (input: string, output: string, flags: Record<string, string>) =>
      (await import('./convert.ts')).convertCommand(input, output, flags),
    )
  quiet(program.command('estimate'))
    .description('say how much memory a picture takes, from the headers of a model alone')
    .argument('<model>', 'folder, single file, "org/name" of the hub (downloaded whole), or the built-in "shapes"')
    .option('--width <pixels>', 'default: what the model was trained on')
    .option('--height <pixels>', 'default: what the model was trained on')
    .option('--batch <number>', 'pictures at once', '1')
    .option('--dtype <type>', 'f32, f16, bf16, int8, fast or auto', 'f32')
    .option('--no-guidance', 'without a negative prompt, which halves a step')
    .option('--json', 'print one JSON object')
    .action(async (model: string, flags: EstimateFlags) => (await import('./estimate.ts')).estimateCommand(model, flags))
  quiet(program.command('doctor'))
    .description('check the native addon, the CPU, threads and the built-in model')
    .option('--json', 'print one JSON object')
    .action(async (flags: { json?: boolean }) => (await import('./doctor.ts')).doctorCommand(flags))
  quiet(program.command('schedulers'))
    .description('list the schedulers, or show the timesteps and noise levels of one')
    .argument('[name]', 'class ("DDIMScheduler") or name in other programs ("DPM++ 2M Karras")')
    .option('-s, --steps <number>', 'number of denoising steps', '20')
    .option('-m, --model <model>', 'take the noise schedule from this folder, "org/name" of the hub, or the built-in "shapes"', 'shapes')
    .option('--svg <file>', 'draw the noise levels into an SVG file')
    .option('--json', 'print one JSON object')
    .action(async (name: string | undefined, flags: Record<string, unknown>) =>
      (await import('./schedulers.ts')).schedulersCommand(name, flags),
    )
  quiet(program.command('tokens'))
    .description('show how a prompt is read: tokens, weights, chunks, schedule, and what of it does not fit')
    .argument('<prompt>', 'text, in quotes')
    .option('-m, --model <model>', 'model folder, "org/name" of the hub, or the built-in "shapes"', 'shapes')
    .option('--syntax <name>', 'how the prompt is read: plain, a1111, compel or lpw', 'plain')
    .option('-s, --steps <number>', 'steps that a schedule in the prompt unfolds over', '20')
    .option('--json', 'print one JSON object')
    .action(async (prompt: string, flags: Record<string, unknown>) => (await import('./tokens.ts')).tokensCommand(prompt, flags))
}

/** Makes the command line program for the given arguments. */
export async function createProgram(args: readonly string[]): Promise<Command> {
  const program = quiet(new Command('node-diffusion'))
    .description('Stable Diffusion for Node: pictures from prompts, on your own machine')
    .version(packageVersion(), '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', examples)
    .enablePositionalOptions()
  const generate = quiet(program.command('generate')).description(
    'make pictures from a prompt (and from a picture, with --image and --mask)',
  )
  if (args.includes('generate')) {
    const { addGenerateFlags } = await import('./generate-flags.ts')
    addGenerateFlags(generate)
    generate.action(async (prompt: string | undefined, flags: Record<string, unknown>) => {
      const { generateCommand } = await import('./generate.ts')
      await generateCommand(prompt, flags)
    })
  } else {
    generate.argument('[prompt]')
  }
  addSmallCommands(program)
  return program
}
