"""Where the launcher's own blocks stand in the one form of an experiment."""

SERVER = "rollout_server"
SERVER_BLOCK = ("custom", "extra", SERVER)
LAUNCH_BLOCK = ("custom", "extra", "launch")
