//! Schedulers: JSON in, JSON out. The tensors stay with the caller.

use crate::error::{Failure, Result};
use napi_derive::napi;
use nd_samplers as samplers;

/// The plan of a scheduler config and run options.
#[napi(catch_unwind)]
pub fn scheduler_plan(config: String, options: String) -> Result<String> {
    Ok(samplers::plan_json(&config, &options).map_err(Failure::from)?)
}

/// A scheduler config completed with its class's defaults, or carried over to another class.
#[napi(catch_unwind)]
pub fn scheduler_config(config: String) -> Result<String> {
    Ok(samplers::config_json(&config).map_err(Failure::from)?)
}

/// Coefficients that noise clean samples to given timesteps.
#[napi(catch_unwind)]
pub fn scheduler_noise(config: String, options: String) -> Result<String> {
    Ok(samplers::noise_json(&config, &options).map_err(Failure::from)?)
}

/// All scheduler classes and the names that user interfaces give them.
#[napi(catch_unwind)]
pub fn scheduler_list() -> Result<String> {
    Ok(samplers::list_json().map_err(Failure::from)?)
}
