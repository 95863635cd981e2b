"""ms-swift's learner."""
