// Times stable-diffusion.cpp: `bench CHECKPOINT THREADS STEPS f32|f16|q8_0 SIZE` prints one JSON line for each work, in the form of peers.py.
// A step with guidance is two evaluations of one row each here. Direct convolutions and flash attention are on, its fastest settings on a CPU.
#include "stable-diffusion.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <sys/resource.h>

static double wall() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double cpu() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + 1e-6 * (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct Span {
  double wall, cpu;
};

static Span last, sampling = {0, 0}, text = {0, 0}, decode = {0, 0};

static Span since_last() {
  Span now = {wall(), cpu()}, took = {now.wall - last.wall, now.cpu - last.cpu};
  last = now;
  return took;
}

// Its own log tells where the works begin and end.
static void on_log(sd_log_level_t, const char *line, void *) {
  if (strstr(line, "get_learned_condition completed")) text = since_last();
  if (strstr(line, "generating image:")) since_last();
  if (strstr(line, "sampling completed")) sampling = since_last();
  if (strstr(line, "latent 1 decoded")) decode = since_last();
  if (strstr(line, "decoding 1 latents")) since_last();
}

static bool generate(sd_ctx_t *sd, int size, int steps) {
  sd_img_gen_params_t image;
  sd_img_gen_params_init(&image);
  image.prompt = "a red circle on a blue background";
  image.negative_prompt = "blurry";
  image.width = image.height = size;
  image.sample_params.sample_steps = steps;
  image.sample_params.sample_method = EULER_SAMPLE_METHOD;
  image.sample_params.guidance.txt_cfg = 7.5f;
  image.seed = 7;
  last = {wall(), cpu()};
  return generate_image(sd, &image) != nullptr;
}

int main(int count, char **args) {
  if (count != 6) {
    fprintf(stderr, "usage: %s CHECKPOINT THREADS STEPS f32|f16|q8_0 SIZE\n", args[0]);
    return 2;
  }
  sd_set_log_callback(on_log, nullptr);
  sd_set_progress_callback([](int, int, float, void *) {}, nullptr);
  sd_ctx_params_t context;
  sd_ctx_params_init(&context);
  context.model_path = args[1];
  context.n_threads = atoi(args[2]);
  context.wtype = strcmp(args[4], "f32") == 0 ? SD_TYPE_F32 : strcmp(args[4], "q8_0") == 0 ? SD_TYPE_Q8_0 : SD_TYPE_F16;
  context.flash_attn = context.diffusion_flash_attn = true;
  context.diffusion_conv_direct = context.vae_conv_direct = true;
  double started = wall();
  sd_ctx_t *sd = new_sd_ctx(&context);
  if (!sd) return 1;
  double load = wall() - started;
  // A tiny picture first: weights are brought into memory by the first use.
  int steps = atoi(args[3]);
  if (!generate(sd, 64, 1) || !generate(sd, atoi(args[5]), steps)) return 1;
  Span step = {sampling.wall / steps, sampling.cpu / steps};
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  struct {
    const char *work;
    Span span;
  } works[] = {{"unet", step}, {"vae", decode}, {"clip", text}};
  for (auto &[work, span] : works)
    printf("{\"peer\":\"stable-diffusion.cpp\",\"work\":\"%s\",\"dtype\":\"%s\",\"seconds\":%.4f,\"cpuSeconds\":%.4f,\"load\":%.3f,\"peakBytes\":%ld}\n", work, args[4],
           span.wall, span.cpu, load, u.ru_maxrss * 1024L);
  free_sd_ctx(sd);
  return 0;
}
