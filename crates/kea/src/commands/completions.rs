//! `kea completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, failure::Failure, output::Output};

/// Which completions.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell, for example: kea completions bash > ~/.local/share/bash-completion/completions/kea
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints a shell's completions.
pub(crate) fn run(output: Output, args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kea", &mut script);
    output.line(&String::from_utf8_lossy(&script))
}
