//! GITS: which of a teacher's noise levels a run of few steps should visit (arXiv:2405.11326, coefficient 1.20).
//!
//! The teacher takes 100 steps, evenly over the training time of Stable Diffusion 1.x, and the method's dynamic programme chose among its
//! levels; so a schedule is a list of teacher steps. It holds for models with those betas. Above 20 steps the longest list is interpolated.

use crate::sigma_schedules::{log_interpolated, resampled};

/// Inner teacher steps of runs of 2 to 20 steps; each begins at step 0 and ends at step 100.
const STEPS: [&[u8]; 19] = [
    &[71],
    &[51, 82],
    &[39, 67, 89],
    &[34, 58, 79, 94],
    &[17, 43, 66, 85, 97],
    &[17, 38, 58, 77, 92, 99],
    &[17, 38, 55, 71, 85, 94, 99],
    &[17, 34, 50, 66, 79, 89, 96, 99],
    &[17, 34, 49, 62, 73, 83, 91, 96, 99],
    &[17, 33, 46, 58, 70, 79, 87, 93, 97, 99],
    &[17, 32, 44, 55, 66, 75, 83, 89, 94, 97, 99],
    &[14, 29, 39, 51, 62, 71, 79, 85, 90, 94, 97, 99],
    &[14, 29, 38, 50, 60, 69, 77, 83, 88, 92, 95, 97, 99],
    &[12, 22, 32, 42, 52, 62, 70, 77, 83, 88, 92, 95, 97, 99],
    &[12, 22, 32, 42, 52, 62, 70, 77, 83, 87, 91, 94, 96, 98, 99],
    &[12, 22, 32, 42, 52, 62, 70, 77, 83, 87, 90, 93, 95, 97, 98, 99],
    &[12, 22, 32, 41, 50, 59, 67, 74, 80, 85, 89, 92, 94, 96, 97, 98, 99],
    &[12, 22, 32, 41, 50, 58, 66, 73, 79, 84, 88, 91, 93, 95, 96, 97, 98, 99],
    &[12, 22, 32, 41, 50, 58, 66, 73, 79, 83, 87, 90, 92, 94, 95, 96, 97, 98, 99],
];

/// `n` descending levels without the final zero; `logs` are the logarithms of the training levels.
pub(crate) fn levels(n: usize, logs: &[f32]) -> Vec<f64> {
    let last = logs.len() as f64 - 1.0;
    let inner = STEPS[n.clamp(2, 20) - 2];
    let steps = [0].iter().chain(inner).chain([100].iter());
    let table: Vec<f64> = steps.map(|&k| log_interpolated(logs, last * (1.0 - f64::from(k) / 100.0)).exp()).collect();
    let mut levels = if n > 20 { resampled(&table, n + 1) } else { table };
    levels.truncate(n);
    levels
}
