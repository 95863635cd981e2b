"""How a command is entered: as it is, in a virtual environment, by conda."""
