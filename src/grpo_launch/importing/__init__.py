"""Shell scripts and command lines that become experiments, with a proof that nothing was lost."""
