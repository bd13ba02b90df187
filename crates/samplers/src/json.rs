//! JSON in, JSON out: the border to the native addon.

use crate::betas::{alphas_cumprod, betas, ALL};
use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::plan::PlanOptions;
use crate::registry::{Entry, Stochastic, ENTRIES};
use crate::scheduler::Scheduler;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

fn object(name: &str, text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|e| SamplerError::argument(name, "a JSON object", e.to_string()))
}

fn write(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| SamplerError::argument("result", "serialisable values", e.to_string()))
}

/// The plan of a config and options, as JSON; numbers that are not finite become null.
pub fn plan_json(config_json: &str, options_json: &str) -> Result<String> {
    let scheduler = Scheduler::from_config(&object("config", config_json)?)?;
    write(&scheduler.plan(&PlanOptions::parse(options_json)?)?)
}

/// The full config. Input: a config with `_class_name`, or `{ "target": class, "source": config, "overrides": {...} }` to
/// carry one class's config over to another.
pub fn config_json(config_json: &str) -> Result<String> {
    let given = object("config", config_json)?;
    let empty = Map::new();
    let part = |key: &str| given.get(key).and_then(Value::as_object).unwrap_or(&empty);
    let config = match given.get("target").and_then(Value::as_str) {
        Some(target) => Config::carry(target, part("source"), part("overrides"))?,
        None => Config::new(&given)?,
    };
    write(config.values())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NoiseRequest {
    at: Vec<f64>,
    #[serde(default)]
    begin: Option<usize>,
    #[serde(default)]
    run: Option<Value>,
    #[serde(default)]
    training: bool,
}

/// Noising coefficients. Options: `{ "at": [timesteps], "begin": index or null, "run": plan options or null }`; with
/// `"training": true` instead `{ "betas": [...], "alphasCumprod": [...] }`, null where the class has none.
pub fn noise_json(config_json: &str, options_json: &str) -> Result<String> {
    let scheduler = Scheduler::from_config(&object("config", config_json)?)?;
    let request: NoiseRequest =
        serde_json::from_str(options_json).map_err(|e| SamplerError::argument("options", "a noise request", e.to_string()))?;
    if request.training {
        let has_betas = scheduler.config().values().contains_key("beta_schedule");
        let (betas, bars) = match has_betas {
            true => (Some(betas(scheduler.config(), ALL)?), Some(alphas_cumprod(scheduler.config(), ALL)?)),
            false => (None, None),
        };
        return write(&json!({ "betas": betas, "alphasCumprod": bars }));
    }
    let options = match &request.run {
        None | Some(Value::Null) => PlanOptions::default(),
        Some(run) => PlanOptions::parse(&run.to_string())?,
    };
    write(&scheduler.noise(&options, &request.at, request.begin)?)
}

fn stochastic(entry: &Entry) -> Value {
    match entry.stochastic {
        Stochastic::Never => json!(false),
        Stochastic::Always => json!(true),
        Stochastic::WithOption(name) | Stochastic::WithKey(name) => json!(name),
        Stochastic::ByAlgorithm => json!("algorithm_type"),
    }
}

/// Every class: name, evaluations per step, whether it draws noise (false, true, or what decides), step options,
/// defaults, whether its noise levels can be named, compatible classes, and the names of user interfaces.
pub fn list_json() -> Result<String> {
    let compatible: Vec<&str> = ENTRIES.iter().filter(|e| e.listed).map(|e| e.class).collect();
    let classes: Vec<Value> = ENTRIES
        .iter()
        .map(|entry| {
            let mut others = if entry.compatible { compatible.clone() } else { Vec::new() };
            if !others.contains(&entry.class) {
                others.push(entry.class);
            }
            json!({
                "className": entry.class,
                "order": entry.evaluations,
                "stochastic": stochastic(entry),
                "stepOptions": entry.step_options,
                "defaults": entry.defaults(),
                "spaced": entry.spaced(),
                "compatibles": others,
            })
        })
        .collect();
    let names: Vec<Value> = crate::names::NAMES
        .iter()
        .map(|n| {
            let overrides = serde_json::from_str::<Value>(n.overrides).unwrap_or_default();
            json!({ "name": n.name, "aliases": n.aliases, "className": n.class, "overrides": overrides })
        })
        .collect();
    let spacings = crate::names::SPACINGS.iter().map(|s| json!({ "name": s.name, "aliases": s.aliases, "flag": s.flag, "spacing": s.spacing }));
    write(&json!({ "classes": classes, "names": names, "spacings": spacings.collect::<Vec<_>>() }))
}
