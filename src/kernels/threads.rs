//! How many threads, and how work is cut for them.
//!
//! All parallel work runs in rayon's current pool, the one that candle uses as well, so that there is one set of
//! threads and nobody spins against anybody else.

use std::{num::NonZero, ops::Range, thread::available_parallelism};

use super::tile::even_split;

/// The cores to use by default: the physical ones, because two threads on one core share its multipliers, and no
/// more than the CPU affinity and a container's quota allow.
pub fn physical_cores() -> NonZero<usize> {
    let allowed = available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    NonZero::new(num_cpus::get_physical()).map_or(allowed, |cores| cores.min(allowed))
}

/// The fewest rows worth a pass over all weights.
const FEWEST_ROWS: usize = 64;
/// The most rows whose depth block stays in a second-level cache of 512 KB, beside the weights.
const MOST_ROWS: usize = 272;

/// Into how many groups to cut the rows of a product. The threads share the columns of one group; with a group for
/// each thread none packs what another packs too.
pub(super) fn row_groups(rows: usize) -> usize {
    rayon::current_num_threads().min(rows / FEWEST_ROWS).max(rows.div_ceil(MOST_ROWS))
}

/// The most rows of a product on a matrix unit: of so many the inputs of a depth block and their sums with a few panels stay in a
/// second-level cache of 2 MB, which all CPUs with such a unit have.
const MOST_UNIT_ROWS: usize = 544;

/// The same for a matrix unit. It multiplies faster than weights come from memory unless many rows share them, so threads share
/// the columns of a group rather than its rows.
pub(super) fn unit_row_groups(rows: usize) -> usize {
    rows.div_ceil(MOST_UNIT_ROWS)
}

/// [`tasks`] of such a product: the fewer there are, the fewer times the input comes from beyond the second-level cache, which
/// costs more than what is lost at the end.
pub(super) fn unit_tasks(
    rows: &Range<usize>,
    groups: usize,
    panels: usize,
) -> Vec<(Range<usize>, Range<usize>)> {
    const MOST_PANELS: usize = 16;
    let tasks = 2 * rayon::current_num_threads();
    let spans = panels.div_ceil(MOST_PANELS).max(tasks.div_ceil(groups.max(1))).min(panels);
    even_split(panels, spans).map(|(first, count)| (rows.clone(), first..first + count)).collect()
}

/// Into how many chunks to cut rows that go through several products one after the other: a group for each thread.
pub(super) fn chunks(rows: usize) -> usize {
    rows.div_ceil(MOST_ROWS * rayon::current_num_threads())
}

/// Tasks per thread that leave little idle at the end.
pub(super) const TASKS: usize = 4;

/// The most panels in a task. The more there are, the fewer times a block of the input comes from beyond the
/// second-level cache; so many leave room for it there beside their sums.
const MOST_PANELS: usize = 8;

/// The fewest rows of a part of a panel: the more there are, the fewer times its weights come from beyond the nearest cache.
const FEWEST_ROWS_OF_PANEL: usize = 32;

/// Cuts a group of rows, one of so many, with all panels into tasks: the rows and the panels of each. The last tasks are smaller
/// and smaller, so that threads end at nearly the same time.
pub(super) fn tasks(rows: &Range<usize>, groups: usize, panels: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let most = panels.div_ceil(parts_per_unit(groups)).min(MOST_PANELS);
    let mut tasks = Vec::new();
    let mut first = 0;
    while first < panels {
        let count = most.min((panels - first).div_ceil(2));
        tasks.push((rows.clone(), first..first + count));
        first += count;
    }
    if rayon::current_num_threads() > 1
        && let Some((rows, panels)) = tasks.pop()
    {
        let parts = even_split(rows.len(), (rows.len() / FEWEST_ROWS_OF_PANEL).max(1));
        tasks.extend(
            parts.map(|(first, count)| (rows.start + first..rows.start + first + count, panels.clone())),
        );
    }
    tasks
}

/// Into how many parts to cut each of `units` units of work, so that the threads can share them evenly.
pub(super) fn parts_per_unit(units: usize) -> usize {
    (TASKS * rayon::current_num_threads()).div_ceil(units.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_cores_than_allowed() {
        assert!(physical_cores() <= available_parallelism().unwrap());
    }

    #[test]
    fn groups_are_neither_thin_nor_thick() {
        let groups = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| [0, 1, 50, 257, 771, 2056].map(row_groups))
        };
        assert_eq!(groups(1), [0, 1, 1, 1, 3, 8]);
        assert_eq!(groups(2), [0, 1, 1, 2, 3, 8]);
        assert_eq!(groups(16), [0, 1, 1, 4, 12, 16]);
    }
}
