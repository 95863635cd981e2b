"""An engine that echoes and a learner that counts: what a plug-in of grpo_launch is made of."""
