//! Names of A1111 and ComfyUI menus for samplers and for their noise levels. Looked up with case, spaces, underscores and hyphens ignored.

/// A sampler of a menu: a class with config overrides (JSON).
#[derive(Debug)]
pub struct Named {
    /// As A1111's menu writes it, else ComfyUI's.
    pub name: &'static str,
    /// The same in other programs and older versions.
    pub aliases: &'static [&'static str],
    pub class: &'static str,
    pub overrides: &'static str,
}

const fn named(name: &'static str, aliases: &'static [&'static str], class: &'static str, overrides: &'static str) -> Named {
    Named { name, aliases, class, overrides }
}

/// Every sampler name.
pub static NAMES: &[Named] = &[
    named("Euler", &["k_euler"], "EulerDiscreteScheduler", "{}"),
    named("Euler a", &["euler_ancestral", "k_euler_a", "k_euler_ancestral"], "EulerAncestralDiscreteScheduler", "{}"),
    named("Euler CFG++", &["euler_cfg_pp"], "EulerCFGPlusPlusScheduler", "{}"),
    named("Euler a CFG++", &["euler_ancestral_cfg_pp", "Euler Ancestral CFG++"], "EulerAncestralCFGPlusPlusScheduler", "{}"),
    named("LMS", &["k_lms"], "LMSDiscreteScheduler", "{}"),
    named("Heun", &["k_heun"], "HeunDiscreteScheduler", "{}"),
    named("DPM2", &["dpm_2", "k_dpm_2"], "KDPM2DiscreteScheduler", "{}"),
    named("DPM2 a", &["dpm_2_ancestral", "k_dpm_2_a", "k_dpm_2_ancestral"], "KDPM2AncestralDiscreteScheduler", "{}"),
    named("DPM fast", &["dpm_fast", "k_dpm_fast"], "DPMFastScheduler", "{}"),
    named("DPM adaptive", &["dpm_adaptive", "k_dpm_ad", "k_dpm_adaptive"], "DPMAdaptiveScheduler", "{}"),
    named("DPM++ 2S a", &["dpmpp_2s_ancestral", "dpmpp_2s_a", "k_dpmpp_2s_a"], "DPMPlusPlus2SAncestralScheduler", "{}"),
    named("DPM++ 2M", &["dpmpp_2m", "k_dpmpp_2m"], "DPMSolverMultistepScheduler", "{}"),
    named(
        "DPM++ 2M SDE",
        &["dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "k_dpmpp_2m_sde"],
        "DPMSolverMultistepScheduler",
        r#"{"algorithm_type":"sde-dpmsolver++"}"#,
    ),
    named(
        "DPM++ 2M SDE Heun",
        &["dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "k_dpmpp_2m_sde_heun"],
        "DPMSolverMultistepScheduler",
        r#"{"algorithm_type":"sde-dpmsolver++","solver_type":"heun"}"#,
    ),
    named("DPM++ 3M", &["dpmpp_3m"], "DPMSolverMultistepScheduler", r#"{"solver_order":3}"#),
    named("DPM++ SDE", &["dpmpp_sde", "dpmpp_sde_gpu", "k_dpmpp_sde"], "DPMSolverSDEScheduler", "{}"),
    named("DPM++ 3M SDE", &["dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "k_dpmpp_3m_sde"], "DPMPlusPlus3MSDEScheduler", "{}"),
    named("DPM++ 2M CFG++", &["dpmpp_2m_cfg_pp"], "DPMPlusPlus2MCFGPlusPlusScheduler", "{}"),
    named("DPM++ 2S a CFG++", &["dpmpp_2s_ancestral_cfg_pp"], "DPMPlusPlus2SAncestralCFGPlusPlusScheduler", "{}"),
    named("RES multistep CFG++", &["res_multistep_cfg_pp"], "RESMultistepCFGPlusPlusScheduler", "{}"),
    named("RES multistep a CFG++", &["res_multistep_ancestral_cfg_pp"], "RESMultistepAncestralCFGPlusPlusScheduler", "{}"),
    named("Gradient Estimation CFG++", &["gradient_estimation_cfg_pp"], "GradientEstimationEulerCFGPlusPlusScheduler", "{}"),
    named("DDIM", &[], "DDIMScheduler", "{}"),
    named("DDPM", &[], "DDPMScheduler", "{}"),
    named("PLMS", &[], "PNDMScheduler", r#"{"skip_prk_steps":true}"#),
    named("PNDM", &[], "PNDMScheduler", "{}"),
    named("UniPC", &["uni_pc"], "UniPCMultistepScheduler", "{}"),
    named("UniPC BH1", &["uni_pc_bh1"], "UniPCMultistepScheduler", r#"{"solver_type":"bh1"}"#),
    named("UniPC BH2", &["uni_pc_bh2"], "UniPCMultistepScheduler", r#"{"solver_type":"bh2"}"#),
    named("DEIS", &[], "DEISMultistepScheduler", "{}"),
    named("iPNDM", &[], "SigmaIPNDMScheduler", "{}"),
    named("SA-Solver", &["sa_solver"], "SASolverScheduler", "{}"),
    named("RES multistep", &["res_multistep"], "RESMultistepScheduler", "{}"),
    named("RES multistep a", &["res_multistep_ancestral"], "RESMultistepAncestralScheduler", "{}"),
    named("ER SDE", &["er_sde"], "ERSDEScheduler", "{}"),
    named("Gradient Estimation", &["gradient_estimation"], "GradientEstimationEulerScheduler", "{}"),
    named("LCM", &["k_lcm"], "LCMScheduler", "{}"),
    named("TCD", &[], "TCDScheduler", "{}"),
];

/// Noise levels of a menu, whose name may follow that of a sampler: the config key and value that choose them.
#[derive(Debug)]
pub struct NamedSpacing {
    /// As A1111's menu writes it, else ComfyUI's.
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// A config flag of diffusers; for a class without it `sigma_spacing` is set to `spacing`.
    pub flag: Option<&'static str>,
    pub spacing: Option<&'static str>,
}

const fn spacing(name: &'static str, aliases: &'static [&'static str], flag: Option<&'static str>, spacing: Option<&'static str>) -> NamedSpacing {
    NamedSpacing { name, aliases, flag, spacing }
}

/// Every name of noise levels. `Align Your Steps` needs to know the model's family, so a pipeline replaces it by one of the three that name it.
pub static SPACINGS: &[NamedSpacing] = &[
    spacing("Karras", &["ka"], Some("use_karras_sigmas"), Some("karras")),
    spacing("Exponential", &[], Some("use_exponential_sigmas"), Some("exponential")),
    spacing("Beta", &[], Some("use_beta_sigmas"), Some("beta")),
    spacing("Lu", &[], Some("use_lu_lambdas"), None),
    spacing("Polyexponential", &[], None, Some("polyexponential")),
    spacing("Normal", &["Uniform"], None, Some("normal")),
    spacing("Simple", &[], None, Some("simple")),
    spacing("SGM Uniform", &[], None, Some("sgm_uniform")),
    spacing("DDIM Uniform", &[], None, Some("ddim_uniform")),
    spacing("KL Optimal", &[], None, Some("kl_optimal")),
    spacing("Smoothstep", &[], None, Some("smoothstep")),
    spacing("GITS", &[], None, Some("gits")),
    spacing("Align Your Steps", &["AYS"], None, Some("ays")),
    spacing("AYS SD15", &["AYS SD1"], None, Some("ays_sd15")),
    spacing("AYS SDXL", &[], None, Some("ays_sdxl")),
    spacing("AYS SVD", &[], None, Some("ays_svd")),
];
