use crate::folder::Folder;
use crate::Plan;
use nd_models::Result;

/// Models beside the UNet.
pub fn plan(_folder: &Folder, class: &str) -> Result<Plan> {
    let kind = if class.is_empty() { "a kind without a class name" } else { class };
    Ok(Plan::Uncovered(format!("{kind} is not known")))
}
