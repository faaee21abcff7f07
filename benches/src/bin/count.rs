//! Takes a hot path so many steps, for callgrind to count what that costs: `count PATH STEPS` prints how many operations they
//! were; `count` prints the paths.
//!
//! `benches/count` runs it twice for each path, with more steps the second time: what the difference does not hold is what the
//! program did before and after. The allocator is the system's, which does the same each time; mimalloc asks the clock.

use std::process::ExitCode;

use corelane_benches::paths::PATHS;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [] => {
            PATHS.iter().for_each(|path| println!("{}", path.name));
            ExitCode::SUCCESS
        }
        [name, steps] => match (PATHS.iter().find(|path| path.name == name), steps.parse()) {
            (Some(path), Ok(steps)) => {
                println!("{}", (path.run)(steps));
                ExitCode::SUCCESS
            }
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: count [PATH STEPS]; without arguments it prints the paths");
    ExitCode::from(2)
}
