//! Which core each worker runs on.

use crate::config::Workers;
use crate::error::StartError;
use core_affinity::CoreId;

/// The cores of the affinity mask that this thread has, which a container or `taskset` may have narrowed.
pub(crate) fn available() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// The core of each worker; `None` where the mask cannot be read, so that pinning would be a guess.
pub(crate) fn plan(workers: &Workers, available: &[usize]) -> Result<Vec<Option<usize>>, StartError> {
    let plan: Vec<_> = match workers {
        Workers::All if available.is_empty() => vec![None],
        Workers::All => available.iter().copied().map(Some).collect(),
        Workers::Count(count) => {
            let mut cores = available.iter().copied().cycle();
            (0..*count).map(|_| cores.next()).collect()
        }
        Workers::Cores(cores) => {
            if let Some(core) = cores.iter().find(|core| !available.contains(core)) {
                return Err(StartError::NoSuchCore { core: *core, available: available.to_vec() });
            }
            cores.iter().copied().map(Some).collect()
        }
    };
    if plan.is_empty() { Err(StartError::NoWorkers) } else { Ok(plan) }
}

/// Pins this thread. A failure costs speed, not correctness, so it is only logged.
pub(crate) fn pin(core: usize) {
    if !core_affinity::set_for_current(CoreId { id: core }) {
        tracing::warn!(core, "cannot pin a worker to its core; it runs wherever the scheduler puts it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_the_mask() {
        assert_eq!(plan(&Workers::All, &[2, 5]).unwrap(), [Some(2), Some(5)]);
        assert_eq!(plan(&Workers::All, &[]).unwrap(), [None]);
    }

    #[test]
    fn more_workers_than_cores_share_them() {
        assert_eq!(plan(&Workers::Count(3), &[2, 5]).unwrap(), [Some(2), Some(5), Some(2)]);
    }

    #[test]
    fn named_cores_must_be_in_the_mask() {
        assert_eq!(plan(&Workers::Cores(vec![5, 5]), &[2, 5]).unwrap(), [Some(5), Some(5)]);
        let error = plan(&Workers::Cores(vec![2, 7]), &[2, 5]).unwrap_err();
        assert_eq!(error.to_string(), "core 7 is not one of the cores [2, 5] that this process may use");
    }

    #[test]
    fn no_worker_is_an_error() {
        for none in [Workers::Count(0), Workers::Cores(vec![])] {
            assert!(matches!(plan(&none, &[0]), Err(StartError::NoWorkers)));
        }
    }

    #[test]
    fn a_pinned_thread_may_use_its_core_only() {
        std::thread::spawn(|| {
            let core = available()[0];
            pin(core);
            assert_eq!(available(), [core]);
        })
        .join()
        .unwrap();
    }
}
