//! Every order in which one thread swaps the pipeline and others look at it.

use loom::sync::Arc;
use loom::thread;

use super::*;

fn pipeline(generation: u64) -> Pipeline {
    let nothing = |_, _, _: &StepSpec| -> StepParts { unreachable!("no step is configured") };
    Pipeline::assemble(generation, &Blueprint::default(), nothing).expect("no steps")
}

/// One that looks as often as this, as publishers do before each message.
fn reader(cell: &Arc<PipelineCell>, looks: usize) -> thread::JoinHandle<()> {
    let cell = cell.clone();
    thread::spawn(move || {
        let mut mine = 1;
        for _ in 0..looks {
            let announced = cell.generation();
            if announced != mine {
                let loaded = cell.load().generation();
                assert!(loaded >= announced, "a pipeline older than what was announced");
                assert!(loaded >= mine, "back to an older pipeline");
                mine = loaded;
            }
        }
    })
}

/// Explores with readers that look so often.
fn explore(looks: &'static [usize], swaps: u64) {
    loom::model(move || {
        let cell = Arc::new(PipelineCell::new(pipeline(1)));
        let readers: Vec<_> = looks.iter().map(|looks| reader(&cell, *looks)).collect();
        (2..2 + swaps).for_each(|generation| cell.store(pipeline(generation)));
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
        let last = swaps + 1;
        assert_eq!((cell.generation(), cell.load().generation()), (last, last), "a swap is lost");
    });
}

#[test]
fn who_has_seen_a_generation_loads_that_pipeline_or_a_later_one() {
    explore(&[2], 2);
}

#[test]
fn two_who_look_during_a_swap_have_one_of_the_two_pipelines() {
    explore(&[1, 1], 1);
}
