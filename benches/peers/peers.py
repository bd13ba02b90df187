"""Times torch, OpenVINO or onnxruntime on the shapes of `npm run bench -- peers`: one JSON line for each work.

python peers.py --peer torch --checkpoint DIR --dtype f32 --threads 2 --runs 3 --works unet,vae,clip

The checkpoint is a folder with unet, vae and text_encoder of diffusers, as `npm run bench -- load --size 512` writes it; of it only the configs are
read. Exported graphs are kept in --cache; --export writes them ahead of time. Times are the best of the runs after one to warm up: wall time, and CPU time of all threads.
"""

import argparse
import json
import os
import resource
import shutil
import time

parser = argparse.ArgumentParser()
parser.add_argument("--peer", choices=["torch", "openvino", "onnxruntime"], required=True)
parser.add_argument("--checkpoint", required=True)
parser.add_argument("--cache", default=os.path.expanduser("~/.cache/node-diffusion-peers/graphs"))
parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--runs", type=int, default=3)
parser.add_argument("--works", default="unet,vae,clip")
parser.add_argument("--size", type=int, default=512)
parser.add_argument("--export", action="store_true", help="only write the graph that the peer runs")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)
os.environ["MKL_NUM_THREADS"] = str(args.threads)

import torch  # noqa: E402 (after the number of threads)
from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402

torch.set_num_threads(args.threads)
torch.set_grad_enabled(False)


class Unet(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sample, timestep, context):
        return self.model(sample, timestep, context, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, latents):
        return self.model.decode(latents, return_dict=False)[0]


class Text(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids, return_dict=False)[0]


def inputs_of(work, dtype):
    """UNet with guidance: the latents of one picture twice, for a prompt and its negative."""
    latent, generator = args.size // 8, torch.Generator().manual_seed(1)
    noise = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)
    if work == "unet":
        width = UNet2DConditionModel.load_config(args.checkpoint, subfolder="unet")["cross_attention_dim"]
        return noise(1, 4, latent, latent).repeat(2, 1, 1, 1), torch.tensor(500), noise(2, 77, width)
    if work == "vae":
        return (noise(1, 4, latent, latent),)
    return (torch.randint(0, 49000, (2, 77), generator=generator),)


def module_of(work, dtype):
    return {"unet": Unet, "vae": Decoder, "clip": Text}[work](random_model(work).to(dtype).eval())


def random_model(work):
    """An architecture of the checkpoint with random weights of its own: what they are does not change the time."""
    torch.manual_seed(1)
    if work == "clip":
        return CLIPTextModel(CLIPTextConfig.from_pretrained(args.checkpoint, subfolder="text_encoder"))
    kind, folder = (UNet2DConditionModel, "unet") if work == "unet" else (AutoencoderKL, "vae")
    return kind.from_config(kind.load_config(args.checkpoint, subfolder=folder))


def torch_runner(work):
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    inputs = inputs_of(work, dtype)
    module = module_of(work, dtype).to(memory_format=torch.channels_last)
    inputs = tuple(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs)
    return lambda: module(*inputs)


def openvino_runner(work):
    import openvino as ov

    path = os.path.join(args.cache, f"{work}-{args.size}.xml")
    inputs = inputs_of(work, torch.float32)
    if not os.path.exists(path):
        os.makedirs(args.cache, exist_ok=True)
        shapes = [tuple(x.shape) for x in inputs]
        graph = ov.convert_model(module_of(work, torch.float32), example_input=inputs, input=shapes)
        ov.save_model(graph, path, compress_to_fp16=False)
    core = ov.Core()
    hints = {"INFERENCE_NUM_THREADS": args.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": args.dtype}
    compiled = core.compile_model(path, "CPU", hints)
    request = compiled.create_infer_request()
    values = [x.numpy() for x in inputs]
    return lambda: request.infer(values)


def onnxruntime_runner(work):
    import onnxruntime as ort

    folder = os.path.join(args.cache, f"{work}-{args.size}-onnx")
    inputs = inputs_of(work, torch.float32)
    names = [f"x{i}" for i in range(len(inputs))]
    path = os.path.join(folder, "model.onnx")
    if not os.path.exists(path):
        # Written beside, so that an interrupted export leaves nothing that looks whole.
        partial = folder + ".part"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        module = module_of(work, torch.float32)
        torch.onnx.export(module, inputs, os.path.join(partial, "model.onnx"), input_names=names, opset_version=18, dynamo=False)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = {x.name for x in session.get_inputs()}
    values = {name: x.numpy() for name, x in zip(names, inputs) if name in known}
    return lambda: session.run(None, values)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


for work in args.works.split(","):
    started = time.time()
    run = {"torch": torch_runner, "openvino": openvino_runner, "onnxruntime": onnxruntime_runner}[args.peer](work)
    if args.export:
        continue
    run()
    load = time.time() - started
    wall, cpu = [], []
    for _ in range(args.runs):
        before, begun = cpu_seconds(), time.time()
        run()
        wall.append(time.time() - begun)
        cpu.append(cpu_seconds() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peer": args.peer, "work": work, "dtype": args.dtype, "seconds": min(wall), "cpuSeconds": min(cpu), "load": load, "peakBytes": peak}), flush=True)
    del run
