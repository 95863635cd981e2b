"""The callbacks that ``role=`` selects: ``run(config, host) -> exit status``."""
