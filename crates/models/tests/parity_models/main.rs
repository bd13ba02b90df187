//! All stored calls of `models/` in a parity pack against our models. The pack is the folder in `PARITY_DIR`, else `../shared/parity` beside the
//! repository, else `test/fixtures/parity`; nothing here names a case, so another pack of the same format works unchanged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adapters;
mod check;
mod clip;
mod folder;
mod tally;
mod unet;
mod vae;

use check::Check;
use folder::{Call, Folder};
use std::path::PathBuf;
use tally::Tally;

/// Runs one stored call of a loaded model.
type Runner = Box<dyn Fn(&Call) -> nd_models::Result<Check>>;

/// What can be done with a folder.
enum Plan {
    Run(Runner),
    Uncovered(String),
}

fn pack() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::var_os("PARITY_DIR").map(PathBuf::from);
    let candidates = given.map_or_else(|| vec![root.join("../shared/parity"), root.join("test/fixtures/parity")], |dir| vec![dir]);
    candidates.into_iter().map(|dir| dir.join("models")).find(|dir| dir.is_dir())
}

fn plan(folder: &Folder) -> nd_models::Result<Plan> {
    Ok(Plan::Run(match folder.class().as_str() {
        "CLIPTextModel" => clip::text(folder, false)?,
        "CLIPTextModelWithProjection" => clip::text(folder, true)?,
        "CLIPVisionModelWithProjection" => clip::vision(folder)?,
        "UNet2DConditionModel" => unet::unet(folder)?,
        "AutoencoderKL" => vae::kl(folder)?,
        other => return adapters::plan(folder, other),
    }))
}

fn run_folder(folder: &Folder, tally: &mut Tally) {
    let plan = plan(folder);
    for call in folder.calls() {
        let name = format!("{}/{}", folder.name, call.name);
        match (&plan, call.is_error) {
            (Err(_), true) => tally.passed(&name, 0.0),
            (Ok(_), true) => tally.uncovered(&name, "the reference refuses it and stored no inputs"),
            (Err(error), false) => tally.failed(&name, &error.to_string()),
            (Ok(Plan::Uncovered(why)), false) => tally.uncovered(&name, why),
            (Ok(Plan::Run(runner)), false) => match runner(&call).and_then(|check| check.finish(&call)) {
                Ok(ratio) if ratio <= 1.0 => tally.passed(&name, ratio),
                Ok(ratio) => tally.failed(&name, &format!("{ratio:.2} of tolerance")),
                Err(error) => tally.failed(&name, &error.to_string()),
            },
        }
    }
}

#[test]
fn models_match_the_reference() {
    let Some(pack) = pack() else {
        println!("parity models: no pack found, set PARITY_DIR");
        return;
    };
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&pack).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.join("io.json").is_file());
    folders.sort();
    let mut tally = Tally::default();
    for path in folders {
        run_folder(&Folder::open(&path), &mut tally);
    }
    tally.print();
    assert_eq!(tally.failures(), 0, "parity failures, listed above");
}
