//! The Node-API surface: convert, call, map the error.

mod account;
mod allocator;
mod clip;
mod clip_vision;
mod controlnet;
mod depth;
mod device;
mod error;
mod estimate;
mod file_lock;
mod info;
mod inspect;
mod ip_adapter;
mod load;
mod lora;
mod measure;
mod motion;
mod network;
mod ops;
mod prior;
mod random;
mod safetensors;
mod save_weights;
mod scheduler;
mod t2i_adapter;
mod taesd;
mod task;
mod tensor;
mod tokenizer;
mod unet;
mod vae;
mod vq;

/// Runs once, when the addon is loaded and before it has any thread.
#[napi_derive::module_init]
fn init() {
    allocator::init();
    // Without it candle parses /proc/cpuinfo at every matrix product.
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        std::env::set_var("RAYON_NUM_THREADS", threads.to_string());
    }
    if let Some(threads) = std::env::var("NODE_DIFFUSION_THREADS").ok().and_then(|text| text.parse().ok()) {
        nd_kernels::pool::set_threads(threads);
    }
    task::silence_panics();
}
